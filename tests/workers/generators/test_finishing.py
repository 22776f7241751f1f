"""Frames that leave the network finished: the same as by way of R'G'B', with the same care for faults, memory and reuse."""

from __future__ import annotations

import dataclasses
from collections import deque
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from contract.errors import EnhanceError
from contract.film import Colour
from contract.job import Spec
from testkit.materials.in_process import restore
from testkit.natural_clips import make_moving
from workers.card.convolution import TILES
from workers.card.pictures import Picture
from workers.card.proof import Proofs
from workers.film.card_colour import to_words
from workers.film.pixel_layout import layout
from workers.film.repeats import Repeats
from workers.generators import finishing, srvgg
from workers.generators.basicsr_archs import architecture
from workers.generators.finishing import Finish, FinishingEnhancer
from workers.generators.fused import FusedModule, FusedNetwork, kinds_of
from workers.generators.torch_backend import TorchNetwork

CPU = torch.device("cpu")
PARAMETERS: dict[str, Any] = {"num_feat": 16, "num_conv": 1, "upscale": 2, "act_type": "prelu"}
SIZE = (12, 16)


def made(bias: float = 0.0, tile: int = 0, kernels: bool = False, multiple: int = 1) -> FinishingEnhancer:
    """Make an enhancer with random weights whose last layer adds `bias`; by PyTorch's layers unless `kernels`."""
    torch.manual_seed(1)
    state = {
        k: v.numpy()
        for k, v in architecture("srvgg_arch", "SRVGGNetCompact")(num_in_ch=3, num_out_ch=3, **PARAMETERS)
        .state_dict()
        .items()
    }
    state["body.4.bias"] = state["body.4.bias"] + bias
    program = srvgg.program("made", PARAMETERS, state)
    ways = dict.fromkeys(kinds_of(program), TILES[0]) if kernels else {}
    network = FusedNetwork(program, FusedModule(program, CPU, ways), CPU)
    # basicsr's classes do not travel to the process that interprets kernels.
    exact = None if kernels else partial(TorchNetwork, srvgg.module("made", PARAMETERS, state), CPU, "fp32")
    kind = dataclasses.replace(srvgg.describe("made", PARAMETERS), multiple=multiple)
    return FinishingEnhancer(kind, network, "", tile, exact=exact)


def finished(
    enhancer: FinishingEnhancer,
    batches: list[torch.Tensor],
    finish: Finish,
    late: int = 1,
    size: tuple[int, int] = SIZE,
) -> list[torch.Tensor | None]:
    """Begin each batch, and end it when `late` others have begun; a batch that must go the long way is None and goes it."""
    repeats, waiting, made = Repeats(), deque[tuple[torch.Tensor, finishing.Begun]](), list[torch.Tensor | None]()

    def end(rgb: torch.Tensor, begun: finishing.Begun) -> None:
        rows = enhancer.end(begun)
        made.append(None if rows is None else torch.stack([row.tensor for row in rows]))
        if rows is None:
            enhancer.frames(rgb, size)

    for rgb in batches:
        waiting.append((rgb, enhancer.begin(rgb, repeats.of(rgb), size, finish)))
        if len(waiting) > late:
            end(*waiting.popleft())
    for one in waiting:
        end(*one)
    return made


def both_ways(
    enhancer: FinishingEnhancer, rgb: torch.Tensor, finish: Finish
) -> tuple[torch.Tensor | None, torch.Tensor]:
    """Return finished frames, and those of the long way."""
    return finished(enhancer, [rgb], finish)[0], enhancer.frames(rgb, SIZE)


def frames(*seeds: int) -> torch.Tensor:
    return torch.cat([torch.rand((1, 3, 6, 8), generator=torch.Generator().manual_seed(s)) for s in seeds])


def finish(picture: Picture) -> tuple[torch.Tensor, torch.Tensor]:
    """Do in PyTorch what the kernel does, but leave R'G'B'."""
    whole = picture.image.float()[None]
    if picture.base is not None:
        whole = torch.nn.functional.pixel_shuffle(whole, picture.shuffle)
        whole = whole + picture.base.float()[None].repeat_interleave(2, -1).repeat_interleave(2, -2)
    finite = whole.isfinite()
    largest = whole[finite].amax().clamp(min=0) if finite.any() else torch.zeros(())
    flags = torch.stack([largest.view(torch.int32), (~finite.all()).int()])
    return whole.clamp(0, 1).flatten(), flags


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv420p10le"])
def test_words_are_those_of_the_long_way(pix_fmt: str, interpreted: Any) -> None:
    """Code values straight from the network equal those by way of R'G'B', bit for bit, so that chunks may mix both ways."""
    colour = Colour(matrix="bt709", full=False)
    convert = partial(to_words, form=layout(pix_fmt), colour=colour, limit=True)
    shown = frames(1, 2)
    straight, rgb = interpreted(both_ways, made(kernels=True), shown, convert)
    for row, whole in zip(straight, rgb, strict=True):
        words, flags = interpreted(convert, Picture(whole))
        assert torch.equal(row, words)
        assert flags.tolist()[1] == 0


def test_equal_frames_are_computed_once() -> None:
    """A frame that equals the one before it, also in the batch before, shares its result, until another chunk begins."""
    enhancer = made()
    first, second = finished(enhancer, [frames(1, 1, 2), frames(2, 3)], finish)
    assert first is not None
    assert second is not None
    assert torch.equal(first[0], first[1])
    assert torch.equal(first[2], second[0])
    expected = made().frames(frames(1, 1, 2), SIZE)
    assert torch.equal(first, expected.flatten(1))
    record = enhancer.record()
    assert (record["frames"], record["frames_reused"], record["network_calls"], record["reused"]) == (5, 2, 2, 0.4)
    finished(enhancer, [frames(3)], finish)
    assert "frames_reused" not in enhancer.record()


def test_a_broken_frame_is_computed_in_fp32() -> None:
    """Values beyond half floats are found by the flags, and the frame alone goes the long way; black in fp32, too, is an error."""
    enhancer = made(bias=1e6)
    (found,) = finished(enhancer, [frames(1, 2)], finish)
    assert found is not None
    assert torch.equal(found, torch.ones(2, 3 * 12 * 16))
    assert enhancer.record()["retried_in_fp32"] == 2
    with pytest.raises(EnhanceError, match="returns black for a part of 8x6 pixels, in fp32 too"):
        finished(made(bias=-100), [frames(1)], finish)
    (dark,) = finished(made(bias=-100), [frames(1) / 255], finish)
    assert dark is not None, "a black frame may stay black"


def short(picture: Picture) -> tuple[torch.Tensor, torch.Tensor]:
    raise torch.cuda.OutOfMemoryError("injected")


def test_what_cannot_be_finished_goes_the_long_way() -> None:
    """Another size, padding and tiles are left to `frames`, and so is memory that is short, without counting anything."""
    assert finished(made(), [frames(1)], finish, size=(24, 32)) == [None]
    assert finished(made(multiple=4), [frames(1)], finish) == [None]
    assert finished(made(tile=4), [frames(1)], finish) == [None]
    enhancer = made()
    assert enhancer.end(enhancer.begin(frames(1), [False], SIZE, short)) is None
    assert "network_calls" not in enhancer.record()
    assert enhancer.frames(frames(1), SIZE).shape == (1, 3, 12, 16)
    assert enhancer.record()["frames"] == 1


def test_a_tile_that_shrinks_meanwhile_counts_at_once() -> None:
    """A batch that was begun whole goes the long way where the one before it has found that only smaller tiles fit, as it would have later."""
    enhancer = made()
    begun = enhancer.begin(frames(1), [False], SIZE, finish)
    enhancer._limit = 6
    assert enhancer.end(begun) is None
    assert "network_calls" not in enhancer.record()


class Spoilt:
    """A kernel that spoils some frames as the network leaves them, and says so; their second results are whole.

    Where memory is `short`, there is none for the second result of the first of them.
    """

    def __init__(self, *seeds: int, short: bool = False) -> None:
        self._spoilt = [frames(seed)[0].half() for seed in seeds]
        self._short = short

    def __call__(self, picture: Picture) -> tuple[torch.Tensor, torch.Tensor]:
        values, flags = finish(picture)
        if picture.base is None and self._short:
            self._short = False
            raise torch.cuda.OutOfMemoryError("injected")
        if picture.base is not None and any(torch.equal(picture.base, one) for one in self._spoilt):
            return torch.full_like(values, 0.5), torch.tensor([flags[0], 1], dtype=torch.int32)
        return values, flags


@pytest.mark.parametrize("short", [False, True], ids=["whole", "memory is short"])
def test_flags_read_a_batch_late_change_nothing(short: bool) -> None:
    """Broken frames, their repeats in the next batch, the long way of the first of two batches: rows and counts are those without delay."""
    batches = [frames(1, 2), frames(2, 2, 3), frames(4), frames(4, 5), frames(5, 5)]
    results = []
    for late in (0, 1):
        enhancer = made()
        rows = finished(enhancer, batches, Spoilt(2, 4, short=short), late)
        assert [row is None for row in rows] == [short, False, False, False, False]
        for row, batch in zip(rows, batches, strict=True):
            assert row is None or torch.equal(row, made().frames(batch, SIZE).flatten(1))
        results.append(enhancer.record())
    assert results[0] == results[1]
    assert results[0]["frames_reused"] == (4 if short else 5), "the frame before one of them went the long way"


_WAITING = ("equal", "_local_scalar_dense", "is_nonzero", "nonzero", "index")
"""Operations after which, on a card, the host has waited for the stream; an index by a list is copied from the host."""


class Operations(TorchDispatchMode):
    """Lists the names of all operations."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def test_to_begin_waits_for_nothing() -> None:
    """Between two batches the host asks for no value on the device, also where frames repeat."""

    def plain(picture: Picture) -> tuple[torch.Tensor, torch.Tensor]:
        return picture.image.flatten(), torch.zeros(2, dtype=torch.int32)

    enhancer = made()
    with Operations() as seen:
        begun = enhancer.begin(frames(1, 2, 2, 3), [False, False, True, False], SIZE, plain)
    assert "convolution" in seen.names
    assert not {*_WAITING} & {*seen.names}
    with Operations() as seen:
        assert enhancer.end(begun) is not None
        assert Repeats().of(frames(1, 1)) == [False, True]
    assert "_local_scalar_dense" in seen.names, "values that are asked for are seen here"


@pytest.mark.slow
def test_a_film_in_code_values(interpreted: Any, tmp_path: Path) -> None:
    """A film whose frames never are R'G'B' after the network is that of the long way, but for roundings of half floats."""
    film = make_moving(tmp_path / "film.mp4", 3, (32, 16))
    spec = Spec(model="realesr-animevideov3", scale=2.0, codec="ffv1", witness="off")
    straight = made(kernels=True)
    straight.proofs = Proofs(CPU, tmp_path)
    straight.proofs._known[("workers.film.card_trial",)] = {"right": True}
    straight.frames = None  # type: ignore[assignment,method-assign]  # the long way would fail
    pictures = []
    for restored in (
        interpreted(restore, film, "a.mkv", spec, tmp_path, straight),
        restore(film, "b.mkv", spec, tmp_path, made()),
    ):
        path = tmp_path / "made.mkv"
        path.write_bytes(restored.data)
        with av.open(str(path)) as container:
            pictures.append(np.stack([f.to_ndarray().astype(int) for f in container.decode(video=0)]))
    assert pictures[0].shape == (3, 48, 64), "three frames of 64x32 in 4:2:0"
    assert np.abs(pictures[0] - pictures[1]).max() <= 1
