"""The torch backend: recording and compiling as on a GPU, checked on the CPU."""

from __future__ import annotations

import dataclasses
import random

import pytest
import torch

from workers.generators.cuda_graphs import Fuser, Run
from workers.generators.enhancer import Enhancer
from workers.generators.lanczos import architecture
from workers.generators.torch_backend import TorchNetwork

CPU = torch.device("cpu")


class Recorder:
    """A recorder that records nothing, remembers the shapes, and, like a CUDA graph, returns the same memory every time."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, run: Run, example: torch.Tensor) -> Run:
        self.shapes.append(tuple(example.shape))
        held = run(example).clone()

        def replay(shown: torch.Tensor) -> torch.Tensor:
            return held.copy_(run(shown))

        return replay


def network(recorder: Recorder | None = None, precision: str = "fp32", fuser: Fuser | None = None) -> TorchNetwork:
    torch.manual_seed(0)
    return TorchNetwork(torch.nn.Conv2d(3, 3, 3, padding=1), CPU, precision, recorder, fuser)


def film(made: TorchNetwork, frames: int = 70) -> torch.Tensor:
    """Run many equal frames and return the last result."""
    frame = torch.rand((1, 3, 8, 8), generator=torch.Generator().manual_seed(1))
    return [made(frame) for _ in range(frames)][-1]


def test_a_shape_is_recorded_when_it_recurs() -> None:
    """A shape that comes again soon is recorded once; images of many sizes are not recorded."""
    recorder = Recorder()
    made = network(recorder)
    for side in (8, 9, 8, 8, 8, 10, 8):
        made(torch.rand(1, 3, side, side))
    assert recorder.shapes == [(1, 3, 8, 8)]
    for side in (*range(11, 20), *range(11, 20)):
        made(torch.rand(1, 3, side, side))
    assert recorder.shapes == [(1, 3, 8, 8)]


def test_batches_of_any_size_run_recorded_and_compiled() -> None:
    """A thousand batches, of which some frames are reused, need one recording for each power of two, and all end up compiled."""
    recorder, given = Recorder(), []

    def fuser(run: Run) -> Run:
        def fused(shown: torch.Tensor) -> torch.Tensor:
            given.append(shown.shape[0])
            return run(shown)

        return fused

    made = network(recorder, fuser=fuser)
    made.device = torch.device("cuda")  # as a card, which the enhancer batches for
    plain = network()
    enhancer = Enhancer(dataclasses.replace(architecture(1), halo=2, clips=True), made, "")
    frames = torch.rand((64, 3, 8, 8), generator=torch.Generator().manual_seed(1))
    draw = random.Random(1)
    for _ in range(1000):
        batch = frames[draw.sample(range(64), draw.randint(1, 4))]
        expected = plain(batch).clamp(0, 1)
        assert torch.allclose(enhancer.frames(batch, (8, 8)), expected, atol=1e-6)
        enhancer.forget()
    assert sorted({shape[0] for shape in recorder.shapes}) == [1, 2, 4]
    assert len(recorder.shapes) == 6, "each is recorded once, and once more when it is compiled"
    assert set(given) == {1, 2, 4}


def test_a_shape_that_made_room_is_still_compiled() -> None:
    """Runs are counted on when a shape's recording was dropped for others."""
    recorder, compiled = Recorder(), []

    def fuser(run: Run) -> Run:
        def fused(shown: torch.Tensor) -> torch.Tensor:
            compiled.append(shown.shape[-1])
            return run(shown)

        return fused

    made = network(recorder, fuser=fuser)
    for _ in range(4):
        for side in (8, 9, 10, 11):
            for _ in range(20):
                made(torch.rand(1, 3, side, side))
    assert set(compiled) == {8, 9, 10, 11}


def test_results_do_not_share_the_records_memory() -> None:
    """A result stays unchanged when the next frame runs in the same recorded memory."""
    made = network(Recorder())
    frames = [torch.rand(1, 3, 8, 8) for _ in range(4)]
    results = [made(f) for f in frames]
    plain = network()
    for frame, result in zip(frames, results, strict=True):
        assert torch.allclose(result, plain(frame), atol=1e-6)
    assert len({r.data_ptr() for r in results}) == len(results)


def test_few_shapes_are_kept() -> None:
    """Recorded shapes hold memory, so only the last few are kept."""
    recorder = Recorder()
    made = network(recorder)
    for side in (8, 9, 10, 11, 8):
        for _ in range(3):
            made(torch.rand(1, 3, side, side))
    assert [s[-1] for s in recorder.shapes] == [8, 9, 10, 11, 8]


def test_a_frequent_shape_is_compiled_once_and_recorded_again() -> None:
    """A shape that comes often is compiled once, and the compiled network runs from then on."""
    recorder, given = Recorder(), []

    def fuser(run: Run) -> Run:
        def fused(shown: torch.Tensor) -> torch.Tensor:
            given.append(shown.shape)
            return run(shown) + 1e-4

        return fused

    made = film(network(recorder, fuser=fuser))
    assert len(recorder.shapes) == 2
    assert len(given) > 2
    assert torch.allclose(made - film(network()), torch.tensor(1e-4), atol=1e-6)


def test_images_are_not_compiled() -> None:
    """A shape that comes only a few times is not compiled, as that would not repay the compiler's time."""

    def fuser(run: Run) -> Run:
        raise AssertionError

    film(network(Recorder(), fuser=fuser), 20)


@pytest.mark.parametrize("fault", ["another picture", "NaN", "no compiler"])
def test_a_compiler_that_fails_is_logged_and_not_used(fault: str, caplog: pytest.LogCaptureFixture) -> None:
    """Without a compiler, or with one whose code gives another result, the network runs uncompiled, and the log has the reason."""

    def fuser(run: Run) -> Run:
        def fused(shown: torch.Tensor) -> torch.Tensor:
            if fault == "no compiler":
                raise RuntimeError("Failed to find C compiler")
            return run(shown) * (float("nan") if fault == "NaN" else 0.9)

        return fused

    assert torch.equal(film(network(Recorder(), fuser=fuser)), film(network(Recorder())))
    assert "the network cannot be compiled" in caplog.text or "not used" in caplog.text


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_results_are_fp32_in_the_usual_layout(precision: str) -> None:
    """For any precision of the network the result is contiguous float32."""
    result = network(precision=precision)(torch.rand(2, 3, 8, 8))
    assert result.dtype == torch.float32
    assert result.is_contiguous()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.cuda.OutOfMemoryError("CUDA out of memory"), MemoryError),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate"), MemoryError),
        (RuntimeError("expected 3 channels"), RuntimeError),
    ],
)
def test_a_short_memory_is_a_memory_error(error: Exception, expected: type[Exception]) -> None:
    """Out-of-memory errors of CUDA and of the CPU allocator become MemoryError; other errors stay unchanged."""

    class Broken(torch.nn.Module):
        def forward(self, rgb: torch.Tensor) -> torch.Tensor:
            raise error

    with pytest.raises(expected):
        TorchNetwork(Broken(), CPU, "fp32")(torch.rand(1, 3, 8, 8))
