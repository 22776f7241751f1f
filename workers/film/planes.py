"""Memory of frames as tensors: copies code values to tensors and back without interpreting them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from workers.film.pixel_layout import Layout, is_chroma, rows

if TYPE_CHECKING:
    import av


def read(frame: av.VideoFrame, form: Layout, device: torch.device) -> list[torch.Tensor]:
    """Copy code values to `device`: [1 x 3 x H x W] for RGB, [1 x 1 x H x W] for grey, luma and [1 x 2 x h x w] chroma for YUV.

    They are uint8 for 8 bits, int32 above.
    """
    if frame.format.name != form.plain:
        frame = frame.reformat(format=form.plain)
    found: dict[int, torch.Tensor] = {}
    for plane, channels in zip(frame.planes, form.order, strict=True):
        values = _upload(rows(plane, form, len(channels), frame, channels), device, form.shift)
        for k, channel in enumerate(channels):
            found[channel] = values[..., k]
    if form.model == "yuv":
        return [found[0][None, None], torch.stack([found[1], found[2]])[None]]
    return [torch.stack([found[c] for c in sorted(found)])[None]]


def write(frame: av.VideoFrame, form: Layout, planes: list[torch.Tensor], first: int = 0) -> None:
    """Copy code values into `frame`, which has the format `form.plain`, from luma row `first` on.

    They are float32, integers in range, arranged as `read` returns them.
    """
    channels = [c for group in planes for c in group[0]]
    write_words(frame, form, [_codes([channels[c] for c in members], form) for members in form.order], first)


def write_words(frame: av.VideoFrame, form: Layout, words: list[torch.Tensor], first: int = 0) -> None:
    """Copy the planes' words, uint8 or int16, height x width x interleaved channels each, into `frame` from luma row `first` on."""
    for plane, members, values in zip(frame.planes, form.order, _download(words), strict=True):
        top = first // form.down[0] if is_chroma(form, members) else first
        np.copyto(rows(plane, form, len(members), frame, members)[top : top + len(values)], values)


def _codes(channels: list[torch.Tensor], form: Layout) -> torch.Tensor:
    """Return the words of a plane, height x width x interleaved channels, on the device: fewer bytes to copy than float32."""
    values = channels[0][..., None] if len(channels) == 1 else torch.stack(channels, -1)
    if form.bits <= 8:
        return values.to(torch.uint8)
    words = values.to(torch.int32)
    return (words << form.shift if form.shift else words).to(
        torch.int16
    )  # the low 16 bits; the sign bit is part of the code value


def _download(codes: list[torch.Tensor]) -> list[npt.NDArray[np.uint8 | np.uint16]]:
    """Copy `codes` to the host's memory as words of frames; all copies start before the first is waited for."""
    if codes[0].device.type == "cuda":
        on_device = codes
        codes = [torch.empty(c.shape, dtype=c.dtype, pin_memory=True) for c in on_device]
        for host, values in zip(codes, on_device, strict=True):
            host.copy_(values, non_blocking=True)
        torch.cuda.current_stream(on_device[0].device).synchronize()
    return [c.numpy() if c.dtype == torch.uint8 else c.numpy().view(np.uint16) for c in (c.cpu() for c in codes)]


def _upload(words: npt.NDArray[np.uint8 | np.uint16], device: torch.device, shift: int) -> torch.Tensor:
    if words.dtype == np.uint8:
        values = torch.from_numpy(words if words.flags.writeable else words.copy())
        if device.type == "cuda":
            values = values.contiguous().pin_memory()
        return values.to(device, non_blocking=True)
    signed = torch.from_numpy(np.ascontiguousarray(words).view(np.int16))
    if device.type == "cuda":
        signed = signed.pin_memory()
    codes = signed.to(device, non_blocking=True).to(torch.int32).bitwise_and_(0xFFFF)
    return codes >> shift if shift else codes
