"""Concurrent stages: items complete and in order, bounded memory, no lost error and no remaining thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from workers.card.streams import own_stream, receive, send
from workers.film.pipeline import BackgroundConsumer, prefetched


@pytest.fixture(autouse=True)
def no_threads_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def test_items_keep_their_order() -> None:
    """All items pass both stages in order."""
    made: list[int] = []
    with prefetched(range(100), 3) as items, BackgroundConsumer(made.append, 2) as outputs:
        for item in items:
            outputs.put(item * 2)
    assert made == list(range(0, 200, 2))


def test_prefetching_is_bounded() -> None:
    """A producer whose consumer does nothing fills the queue, produces one more item, and waits."""
    made: list[int] = []
    waiting = threading.Event()

    def produce() -> Iterator[int]:
        for i in range(100):
            made.append(i)
            if i == 3:
                waiting.set()
            yield i

    with prefetched(produce(), 3) as items:
        assert next(items) == 0
        assert waiting.wait(10)
        assert len(made) <= 5


def test_the_background_queue_is_bounded() -> None:
    """With a consumer that does nothing the producer waits once the queue is full."""
    go = threading.Event()
    done: list[int] = []

    def consume(item: int) -> None:
        assert go.wait(10)
        done.append(item)

    with BackgroundConsumer(consume, 2) as outputs:
        for item in range(3):  # one in send, two waiting
            outputs.put(item)
        assert done == []
        go.set()
        for item in range(3, 10):
            outputs.put(item)
    assert done == list(range(10))


def test_stages_work_at_the_same_time() -> None:
    """The first, middle and last stage work on different items at the same time."""
    meeting = threading.Barrier(3, timeout=10)

    def produce() -> Iterator[int]:
        yield 0
        yield 1
        meeting.wait()  # frame 2 is being made
        yield 2

    def consume(item: int) -> None:
        if item == 0:
            meeting.wait()  # while frame 0 is being encoded

    with prefetched(produce(), 1) as items, BackgroundConsumer(consume, 1) as outputs:
        for item in items:
            if item == 1:
                meeting.wait()  # while frame 1 is being enhanced
            outputs.put(item)


def test_an_error_of_the_producer_is_raised() -> None:
    """Items before an error are delivered; then the error is raised."""

    def produce() -> Iterator[int]:
        yield 1
        raise ValueError("broken packet")

    got: list[int] = []

    def consume() -> None:
        with prefetched(produce(), 2) as items:
            got.extend(items)

    with pytest.raises(ValueError, match="broken packet"):
        consume()
    assert got == [1]


def test_an_error_of_the_consumer_is_raised() -> None:
    """An error of the last stage stops the pipeline at the next item, or at its end."""

    def consume(item: int) -> None:
        raise OSError("disk full")

    def give(count: int) -> None:
        with BackgroundConsumer(consume, 1) as outputs:
            for item in range(count):
                outputs.put(item)

    for count in (1, 1000):
        with pytest.raises(OSError, match="disk full"):
            give(count)


def test_leaving_early_stops_both_stages() -> None:
    """When the middle raises (a lost lease, a SIGTERM) the generator is closed and nothing waits for the last stage."""
    closed = threading.Event()
    consumed: list[int] = []

    def produce() -> Iterator[int]:
        try:
            yield from range(10**9)
        finally:
            closed.set()

    def stop_at_five() -> None:
        with prefetched(produce(), 2) as items, BackgroundConsumer(consumed.append, 2) as outputs:
            for item in items:
                outputs.put(item)
                if item == 5:
                    raise KeyError("stop")

    with pytest.raises(KeyError):
        stop_at_five()
    assert closed.is_set()
    assert len(consumed) <= 6


def test_on_the_cpu_tensors_are_passed_unchanged() -> None:
    """Without CUDA a received tensor is the sent one, and there is no stream."""
    tensor = torch.zeros(3)
    with own_stream("cpu") as stream:
        assert stream is None
        assert receive(send(tensor)) is tensor
