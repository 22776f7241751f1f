"""A film's chunk in two parts: what the first leaves is another thread's, whatever the networks do meanwhile."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from av.video.frame import VideoFrame

from contract.errors import Interrupted, LeaseLost
from contract.job import Spec
from contract.settings import Settings
from testkit.clips import fingerprint, make_film
from testkit.materials.in_process import restore
from workers.card.streams import Sent
from workers.film.chunk import film_stages
from workers.film.decode import RunDecoder
from workers.film.encode import ChunkEncoder
from workers.film.frame_marks import Clock
from workers.film.frame_pool import FramePool
from workers.film.network_stages import Inputs, NetworkStages
from workers.film.share import AHEAD_BYTES, ALONE, Share, share_of
from workers.generators.enhancer import Enhancer
from workers.generators.registry import load
from workers.stages import finished

SPEC = Spec(model="lanczos", scale=2, codec="ffv1", container="mkv", chunk_frames=12)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The packet run of a film's first chunk."""
    path = tmp_path / "first"

    def keep(n: int, data: bytes) -> None:
        if n == 0:
            path.write_bytes(data)

    restore(make_film(tmp_path / "film.mp4", 24), "out.mkv", SPEC, tmp_path, network(), keep)
    return path


def network() -> Enhancer:
    return load(SPEC, {}, Settings(device="cpu"))


def test_the_second_part_in_another_thread_gives_the_same_chunk(run: Path, tmp_path: Path) -> None:
    """The network has other frames by then; frames and record are those of the chunk done in one."""
    whole = finished(film_stages(run, SPEC, network(), tmp_path / "whole", lambda *_: None))
    shared = network()
    stages = film_stages(run, SPEC, shared, tmp_path / "parts", lambda *_: None)
    next(stages)
    shared.frames(torch.rand(1, 3, 32, 48), (64, 96))
    with ThreadPoolExecutor(1) as other:
        parts = other.submit(finished, stages).result()
    times = ("seconds", "wall", "network_busy")
    assert {k: v for k, v in parts.record.items() if k not in times} == {
        k: v for k, v in whole.record.items() if k not in times
    }
    assert (parts.frames, parts.reorder, parts.prints) == (whole.frames, whole.reorder, whole.prints)
    assert fingerprint(tmp_path / "parts") == fingerprint(tmp_path / "whole")


def test_stages_that_are_given_up_end_what_they_began(run: Path, tmp_path: Path) -> None:
    """Closing them between the two parts ends the encoder, and nothing is returned."""
    stages = film_stages(run, SPEC, network(), tmp_path / "out", lambda *_: None)
    next(stages)
    stages.close()
    with pytest.raises(StopIteration):
        next(stages)


def test_an_error_of_the_first_part_is_passed_on(run: Path, tmp_path: Path) -> None:
    """A checkpoint that stops the work does so before the second part."""

    def stop(*_: int) -> None:
        raise Interrupted("the worker was shut down")

    with pytest.raises(Interrupted):
        next(film_stages(run, SPEC, network(), tmp_path / "out", stop))


class Encoding:
    """A gate before each frame's encoding."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go = threading.Event()
        whole = ChunkEncoder.write

        def write(encoder: ChunkEncoder, ordinal: int, frame: VideoFrame) -> None:
            assert self.go.wait(60)
            whole(encoder, ordinal, frame)

        monkeypatch.setattr(ChunkEncoder, "write", write)


def test_the_networks_may_be_a_chunk_ahead_of_its_encoder(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They have done their part before the first frame is encoded, and the chunk is that of one share.

    A second chunk is, too, whose frames all have the memory of those of the first.
    """
    whole = finished(film_stages(run, SPEC, network(), tmp_path / "whole", lambda *_: None))
    encoding, beside, kept = Encoding(monkeypatch), share_of(2, 16), list[int]()
    take, taken = FramePool.take, threading.Semaphore(0)

    def counted(pool: FramePool, *kind: Any) -> VideoFrame:
        taken.release()
        return take(pool, *kind)

    monkeypatch.setattr(FramePool, "take", counted)
    for name in ("one", "other"):
        encoding.go.clear()
        stages = film_stages(run, SPEC, network(), tmp_path / name, lambda *_: None, share=beside)
        next(stages)
        for _ in range(whole.frames):  # the last ones may still be on their way from the network
            assert taken.acquire(timeout=60)
        encoding.go.set()
        parts = finished(stages)
        assert (parts.frames, parts.reorder, parts.prints) == (whole.frames, whole.reorder, whole.prints)
        assert fingerprint(tmp_path / name) == fingerprint(tmp_path / "whole")
        kept.append(beside.frames.kept)
    assert kept == [whole.frames * 192 * 128 * 3 // 2] * 2


def test_a_lost_lease_ends_an_encoder_that_is_behind(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frames that wait are not encoded: the checkpoint is asked before each."""
    encoding, lost, asked = Encoding(monkeypatch), threading.Event(), list[int]()

    def checkpoint(frames: int = 0) -> None:
        asked.append(frames)
        if lost.is_set():
            raise LeaseLost("Another attempt owns the chunk now; this one was dropped.")

    stages = film_stages(run, SPEC, network(), tmp_path / "out", checkpoint, share=share_of(2, 16))
    next(stages)
    lost.set()
    encoding.go.set()
    with pytest.raises(LeaseLost):
        finished(stages)
    assert max(asked) <= 1


class LateConversion:
    """A conversion whose results are looked at a batch late; it lists what it is asked for."""

    late = 1

    def __init__(self) -> None:
        self.asked: list[str] = []

    def begin(self, rgb: torch.Tensor, repeats: list[bool]) -> int:
        self.asked.append(f"begin {int(rgb)}")
        return int(rgb)

    def end(self, begun: int) -> list[Sent] | None:
        self.asked.append(f"end {begun}")
        return None if begun == 1 else [Sent(torch.tensor([begun]), None)]

    def enlarge(self, rgb: torch.Tensor) -> torch.Tensor:
        return rgb[None]


def test_a_batch_is_begun_before_the_one_before_is_looked_at(run: Path) -> None:
    """So a card has work meanwhile; batches leave in order, also those that go the long way, and a stop is heard before each."""
    stages = NetworkStages(RunDecoder(run).header, network(), None, Clock(), [], ALONE.frames)
    stages._conversion = made = LateConversion()  # type: ignore[assignment]
    batches = [([n], Inputs(Sent(torch.tensor([n]), None), [False])) for n in range(3)]
    found = [
        (ordinals, [int(sent.tensor) for sent in results])
        for ordinals, results in stages.enhanced(iter(batches), lambda: made.asked.append("checkpoint"))
    ]
    assert found == [([n], [n]) for n in range(3)]
    begun = ["checkpoint", "begin 0", "checkpoint", "begin 1", "end 0", "checkpoint", "begin 2", "end 1", "end 2"]
    assert made.asked == begun


def test_chunks_share_the_cores_of_their_worker() -> None:
    """Alone a chunk has all; three have a third each of x264's threads for the cores, which is never none; a worker's own bound holds."""
    assert share_of(0, 16) == ALONE == Share(threads=0, ahead=0)
    assert share_of(2, 16) == Share(threads=8, ahead=AHEAD_BYTES)
    assert share_of(3, 1).threads == 1
    assert share_of(0, 16, threads=4) == Share(threads=6, ahead=0)
    assert share_of(2, 16, threads=4) == Share(threads=2, ahead=AHEAD_BYTES)
