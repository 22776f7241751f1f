"""Comparison of a card's colour kernels with PyTorch's passes: `python -m workers.film.card_trial DEVICE`.

Prints {"right": true} if they agree on the device, with figures either way.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass

import torch

from contract.film import Colour
from stores.processes import die_with_parent
from workers.card.pictures import Picture
from workers.film import card_colour, colour
from workers.film.pixel_layout import layout
from workers.film.planes import read

_NEAR = 1e-6
"""Largest difference in RGB: a few roundings of a float32 near 1."""
_TIES = 1e-3
"""Share of samples that may differ by one code, because the value lies between two; as between both ways on the CPU."""


@dataclass(frozen=True)
class Case:
    """A picture to convert: its height and width, and the pixel format and colour of the film."""

    height: int
    width: int
    pix_fmt: str
    colour: Colour


CASES = (
    Case(480, 640, "yuv420p", Colour(matrix="bt601", full=False, chroma_location=1)),
    Case(271, 355, "yuv420p", Colour(matrix="bt709", full=True, chroma_location=2)),
    Case(1080, 1920, "yuv420p10le", Colour(matrix="bt709", full=False, chroma_location=3)),
    Case(243, 518, "nv12", Colour(matrix="bt2020", full=False, chroma_location=5)),
    Case(5, 7, "p010le", Colour(matrix="bt2020", full=True, chroma_location=6)),
)
"""Pictures that a trial converts: every matrix, both ranges, both depths, rows from either end, odd sizes."""


@dataclass(frozen=True)
class Differences:
    """Differences between the kernels and PyTorch's passes.

    `codes` is the largest in code values, `ties` the share of samples that differ, `rgb` the largest in RGB, and `flags` whether the flags
    of a network's result are right.
    """

    codes: int
    ties: float
    rgb: float
    flags: bool

    def right(self) -> bool:
        """Return whether these are roundings alone."""
        return self.codes <= 1 and self.ties <= _TIES and self.rgb <= _NEAR and self.flags


def compare(case: Case, device: torch.device, shuffle: int) -> Differences:
    """Convert a picture both ways: from RGB, from a network's result with `shuffle`, and to RGB."""
    generator = torch.Generator().manual_seed(case.width)
    rgb = torch.rand((1, 3, case.height, case.width), generator=generator) * 1.4 - 0.2
    form = layout(case.pix_fmt)
    # Copied, as a card may compute what the processor reads.
    expected = colour.from_rgb(rgb.clone(), case.pix_fmt, case.colour)
    made = card_colour.from_rgb(rgb.to(device), case.pix_fmt, case.colour)
    there = colour.to_rgb(expected, case.colour)
    here = card_colour.to_rgb(expected, case.colour, device).cpu()
    off = [_off(expected, made, form.name)]
    size = (case.height // shuffle * shuffle, case.width // shuffle * shuffle)
    if min(size) < card_colour.SMALLEST:
        return Differences(int(off[0].max()), float(off[0].float().mean()), float((there - here).abs().max()), True)
    picture, whole = _unfinished(rgb[..., : size[0], : size[1]], shuffle, device)
    words, flags = card_colour.to_words(picture, form, case.colour, limit=True)
    finished = card_colour.to_frame(words, size, case.pix_fmt, case.colour)
    off.append(_off(colour.from_rgb(whole.clamp(0, 1), case.pix_fmt, case.colour), finished, form.name))
    right = abs(float(flags[:1].cpu().view(torch.float32)) - float(whole.max())) <= _NEAR and not int(flags[1])
    picture.image[-1, -1, -1] = float("nan")
    right = right and int(card_colour.to_words(picture, form, case.colour, limit=True)[1][1]) == 1
    every = torch.cat(off)
    return Differences(int(every.max()), float(every.float().mean()), float((there - here).abs().max()), right)


def _unfinished(rgb: torch.Tensor, shuffle: int, device: torch.device) -> tuple[Picture, torch.Tensor]:
    """Return a picture near `rgb` as a network leaves it, in half floats with channels last, and as fp32: 1 x 3 x H x W."""
    if shuffle == 1:
        image = rgb.half()
        return Picture(image[0].to(device)), image.float()
    base = torch.nn.functional.avg_pool2d(rgb, shuffle).half()
    rest = rgb - base.float().repeat_interleave(shuffle, -1).repeat_interleave(shuffle, -2)
    image = torch.nn.functional.pixel_unshuffle(rest, shuffle).half()
    whole = torch.nn.functional.pixel_shuffle(image.float(), shuffle)
    whole += base.float().repeat_interleave(shuffle, -1).repeat_interleave(shuffle, -2)
    last = image.to(device).contiguous(memory_format=torch.channels_last)
    return Picture(last[0], shuffle, base[0].to(device)), whole


def _off(a: object, b: object, pix_fmt: str) -> torch.Tensor:
    """Return the differences of two frames of `pix_fmt` in code values."""
    form, cpu = layout(pix_fmt), torch.device("cpu")
    pairs = zip(read(a, form, cpu), read(b, form, cpu), strict=True)  # type: ignore[arg-type]
    return torch.cat([(x.int() - y.int()).abs().flatten() for x, y in pairs])


def main() -> None:
    """Run the trial on the device named by the first argument."""
    die_with_parent()
    device = torch.device(sys.argv[1])
    found = [compare(case, device, shuffle) for case, shuffle in zip(CASES, (4, 2, 1, 4, 1), strict=True)]
    facts = {"codes": max(f.codes for f in found), "ties": max(f.ties for f in found), "rgb": max(f.rgb for f in found)}
    print(json.dumps({"right": all(f.right() for f in found), **facts}))  # noqa: T201


if __name__ == "__main__":
    main()
