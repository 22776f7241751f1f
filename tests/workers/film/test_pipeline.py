"""Stages side by side: nothing lost, nothing out of order, bounded memory, no error and no thread left behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from workers.film.cuda_streams import hand, own_stream, take
from workers.film.pipeline import Behind, ahead


@pytest.fixture(autouse=True)
def no_threads_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def test_all_items_come_in_order() -> None:
    """What goes through both stages comes out whole and in order."""
    made: list[int] = []
    with ahead(range(100), 3) as items, Behind(made.append, 2) as outputs:
        for item in items:
            outputs.put(item * 2)
    assert made == list(range(0, 200, 2))


def test_the_stage_ahead_is_bounded() -> None:
    """A producer whose consumer stands still makes what fits the queue and one more, then waits."""
    made: list[int] = []
    waiting = threading.Event()

    def produce() -> Iterator[int]:
        for i in range(100):
            made.append(i)
            if i == 3:
                waiting.set()
            yield i

    with ahead(produce(), 3) as items:
        assert next(items) == 0
        assert waiting.wait(10)
        assert len(made) <= 5


def test_the_stage_behind_is_bounded() -> None:
    """A consumer that stands still makes the producer wait once the queue is full."""
    go = threading.Event()
    done: list[int] = []

    def consume(item: int) -> None:
        assert go.wait(10)
        done.append(item)

    with Behind(consume, 2) as outputs:
        for item in range(3):  # one in hand, two waiting
            outputs.put(item)
        assert done == []
        go.set()
        for item in range(3, 10):
            outputs.put(item)
    assert done == list(range(10))


def test_stages_work_at_the_same_time() -> None:
    """Decoding of the next, enhancing of this and encoding of the last frame are under way at one moment."""
    meeting = threading.Barrier(3, timeout=10)

    def produce() -> Iterator[int]:
        yield 0
        yield 1
        meeting.wait()  # frame 2 is being made
        yield 2

    def consume(item: int) -> None:
        if item == 0:
            meeting.wait()  # while frame 0 is being encoded

    with ahead(produce(), 1) as items, Behind(consume, 1) as outputs:
        for item in items:
            if item == 1:
                meeting.wait()  # while frame 1 is being enhanced
            outputs.put(item)


def test_an_error_ahead_is_raised_here() -> None:
    """What was made before an error is delivered; then the error itself is raised."""

    def produce() -> Iterator[int]:
        yield 1
        raise ValueError("broken packet")

    got: list[int] = []

    def consume() -> None:
        with ahead(produce(), 2) as items:
            got.extend(items)

    with pytest.raises(ValueError, match="broken packet"):
        consume()
    assert got == [1]


def test_an_error_behind_is_raised_here() -> None:
    """An error of the last stage stops the pipeline at the next item, or at its end."""

    def consume(item: int) -> None:
        raise OSError("disk full")

    def give(count: int) -> None:
        with Behind(consume, 1) as outputs:
            for item in range(count):
                outputs.put(item)

    for count in (1, 1000):
        with pytest.raises(OSError, match="disk full"):
            give(count)


def test_leaving_early_stops_both_stages() -> None:
    """When the middle raises (a lost lease, a SIGTERM) the generator ahead is closed and nothing waits for the stage behind."""
    closed = threading.Event()
    consumed: list[int] = []

    def produce() -> Iterator[int]:
        try:
            yield from range(10**9)
        finally:
            closed.set()

    def stop_at_five() -> None:
        with ahead(produce(), 2) as items, Behind(consumed.append, 2) as outputs:
            for item in items:
                outputs.put(item)
                if item == 5:
                    raise KeyError("stop")

    with pytest.raises(KeyError):
        stop_at_five()
    assert closed.is_set()
    assert len(consumed) <= 6


def test_on_the_cpu_tensors_are_handed_on_as_they_are() -> None:
    """Without CUDA a handed tensor is the same tensor, and a stream of one's own is nothing."""
    tensor = torch.zeros(3)
    with own_stream("cpu") as stream:
        assert stream is None
        assert take(hand(tensor)) is tensor
