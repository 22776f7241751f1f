"""Planning a film: from its packets to a frame index, an encoding and chunks. Nothing is decoded on sound sources."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import numpy.typing as npt

from contract.codecs import CONTAINERS, ENCODERS, choose_pix_fmt, encoder_options, pixel_class
from contract.errors import Unsupported, UsageError
from contract.film import Encoding, FilmIndex, Span, pack
from contract.media import open_media
from contract.packets import CORRUPT, KEY
from orchestrator.ingest.chunks import Keys, cut_positions, plan_chunks, split_by_bytes, target_frames
from orchestrator.ingest.order import Order, find_order
from orchestrator.ingest.packets import NONE, PacketTable, read_packets
from orchestrator.ingest.probe import HLG, PQ, Picture, describe_picture, describe_streams, film_stream

if TYPE_CHECKING:
    from av.video.stream import VideoStream

    from contract.job import Item, Spec

INTRA = frozenset(
    [
        "mjpeg",
        "prores",
        "dvvideo",
        "rawvideo",
        "huffyuv",
        "ffvhuff",
        "utvideo",
        "dnxhd",
        "v210",
        "v410",
        "cfhd",
        "jpeg2000",
        "png",
        "tiff",
        "magicyuv",
        "r210",
        "yuv4",
        "v308",
        "v408",
        "y41p",
        "qtrle",
        "gif",
        "apng",
    ]
)
"""Codecs of which every packet stands alone (gif, apng and qtrle do not: they are only here when every packet is key)."""


def plan_film(source: BinaryIO, item: Item, spec: Spec, network_scale: int) -> FilmIndex:
    """The index of the film in `source` (seekable, left open) under `spec`; `network_scale` is used where the spec
    names no scale.

    Raises BadInput for what is no film, Unsupported for what cannot be restored without losing something, UsageError
    for options that do not fit. Nothing has been done by then.
    """
    what = item.name
    with open_media(source, what) as container:
        stream = film_stream(container, what)
        picture = describe_picture(container, stream, what)
    _refuse_hdr(picture, spec, what)
    with open_media(source, what) as container:
        stream = film_stream(container, what)
        streams = describe_streams(container, stream)
        table = read_packets(container, stream, what)
        reorder = stream.codec_context.has_b_frames
        time_base = stream.time_base
        assert time_base is not None
        step = _nominal_step(stream, table)
        order = find_order(table, reorder, step)
        rate = frame_rate(order.pts, order.durations, time_base, _announced(stream))
        encoding, notes = plan_encoding(picture, spec, network_scale, rate)
        name = container.format.name
        codec = stream.codec_context.name
        number = stream.index
    keys = usable_keys(table, order)
    intra = len(keys.ids) == len(order.pts) and codec in INTRA
    target = target_frames(picture.width, picture.height, spec)
    frames = len(order.pts)
    starts = cut_positions(frames, target, keys, exact=bool(spec.chunk_frames))
    starts = split_by_bytes(starts, frames, _size_before(table, order))
    return FilmIndex(
        format=name,
        stream=number,
        codec=codec,
        width=picture.width,
        height=picture.height,
        pix_fmt=picture.pix_fmt,
        time_base=(time_base.numerator, time_base.denominator),
        frames=frames,
        pts=pack(order.pts),
        durations=pack(order.durations),
        positions=pack(order.positions),
        lossless=False,
        colour=picture.colour,
        encoding=encoding,
        container=choose_container(item, spec),
        chunks=tuple(plan_chunks(starts, frames, order.positions, keys, 0, intra)),
        streams=streams,
        sar=picture.sar,
        display_matrix=picture.display_matrix,
        joins=tuple((s.start, s.shift) for s in order.segments[1:]),
        damage=tuple(_damage(table, order)),
        notes=tuple(notes),
    )


def _refuse_hdr(picture: Picture, spec: Spec, what: str) -> None:
    if picture.colour.transfer in (PQ, HLG) and not spec.hdr:
        kind = "PQ" if picture.colour.transfer == PQ else "HLG"
        raise Unsupported(
            f"{what} is high dynamic range ({kind}), which the networks were not trained on; "
            "pass --hdr to process its code values as they are, or make an SDR version first."
        )


def _announced(stream: VideoStream) -> list[Fraction]:
    rates = (stream.average_rate, stream.base_rate, stream.guessed_rate)
    return [Fraction(r) for r in rates if r and 0 < r <= 1000]


def _nominal_step(stream: VideoStream, table: PacketTable) -> int:
    """Of one frame in time base units, for frames that carry no times: the commonest duration, else the announced rate."""
    lasting = table.duration[table.duration > 0]
    if len(lasting):
        return int(np.bincount(np.minimum(lasting, 1 << 20)).argmax())
    rates = _announced(stream) or [Fraction(25)]
    return max(1, round(1 / (rates[0] * (stream.time_base or Fraction(1, 25)))))


def frame_rate(
    pts: npt.NDArray[np.int64], durations: npt.NDArray[np.int64], time_base: Fraction, announced: list[Fraction]
) -> Fraction:
    """Nominal frames per second from the times themselves: an announced rate counts only if every frame keeps to it
    within a tick. Rates in headers lie (soft telecine, transport streams, variable rate)."""
    if len(pts) == 1:
        return announced[0] if announced else Fraction(25)
    ticks = (pts - pts[0]).astype(np.float64)
    n = np.arange(len(pts), dtype=np.float64)
    mean = Fraction(len(pts) - 1) / (Fraction(int(pts[-1] - pts[0])) * time_base)
    near = mean.limit_denominator(1001)
    for rate in (*announced, Fraction(round(mean * 1001), 1001), Fraction(round(mean)), near):
        if rate > 0 and np.abs(ticks - n / float(rate * time_base)).max() <= 1.01:
            return rate
    del durations
    return min(max(near, Fraction(1, 1000)), Fraction(1000))


def plan_encoding(picture: Picture, spec: Spec, network_scale: int, rate: Fraction) -> tuple[Encoding, list[str]]:
    """What every chunk is encoded as, and notes on what that changes.

    Size rule: out = even(round(in * scale)) for formats with subsampled chroma, and for all formats where the encoder
    wants even sides; `identity` never changes a size.
    """
    encoder = ENCODERS[spec.codec]
    pix_fmt, notes = choose_pix_fmt(spec.codec, picture.pix_fmt, spec.pix_fmt)
    scale = spec.scale if spec.scale is not None else float(network_scale)
    look = pixel_class(pix_fmt)
    if spec.model == "identity":
        if scale != 1:
            raise UsageError(
                f"--scale {scale:g} with the model identity, which leaves frames as they are; use lanczos."
            )
        width, height = picture.width, picture.height
        if not encoder.odd_sizes and (width % 2 or height % 2):
            raise Unsupported(f"{spec.codec} cannot encode the odd size {width}x{height} as it is; use --codec ffv1.")
    else:
        even = not encoder.odd_sizes
        width = scaled(picture.width, scale, even or look.chroma[0] > 0)
        height = scaled(picture.height, scale, even or look.chroma[1] > 0)
    if spec.codec == "svtav1" and (width < 64 or height < 64):
        raise Unsupported(
            f"svtav1 encodes nothing smaller than 64x64, and this is {width}x{height}; use another codec."
        )
    encoding = Encoding(
        codec=spec.codec,
        encoder=encoder.name,
        pix_fmt=pix_fmt,
        width=width,
        height=height,
        rate=(rate.numerator, rate.denominator),
        options=encoder_options(spec.codec, spec, pix_fmt),
        sar=picture.sar,
    )
    return encoding, notes


def scaled(side: int, scale: float, even: bool) -> int:
    """A side after scaling: rounded to the nearest integer, then up to an even one if `even`."""
    size = max(1, round(side * scale))
    return size + size % 2 if even else size


def choose_container(item: Item, spec: Spec) -> str:
    """The result's muxer: what the spec names, else what the result's suffix says, else Matroska."""
    suffix = spec.container or item.result.rsplit(".", 1)[-1]
    if suffix.lower() in CONTAINERS:
        return CONTAINERS[suffix.lower()]
    if spec.container:
        known = ", ".join(sorted(CONTAINERS))
        raise UsageError(f"--container {spec.container!r} is not one that can be written; choose one of {known}.")
    return "matroska"


def usable_keys(table: PacketTable, order: Order) -> Keys:
    """Key packets at which decoding can start."""
    ids = np.flatnonzero(((table.flags & KEY) != 0) & (order.positions >= 0))
    positions = order.positions[ids]
    rising = np.concatenate(([True], np.diff(positions) > 0)) if len(ids) else np.zeros(0, dtype=bool)
    return Keys(ids[rising], positions[rising])


def _size_before(table: PacketTable, order: Order) -> npt.NDArray[np.int64]:
    return np.concatenate(([0], np.cumsum(table.size[order.packet_of])))


def _damage(table: PacketTable, order: Order) -> list[Span]:
    """What the container itself reports: packets with missing bytes."""
    spans: list[Span] = []
    for packet in np.flatnonzero(table.flags & CORRUPT):
        position = int(order.positions[packet])
        if position < 0:
            continue
        if spans and spans[-1].first + spans[-1].count == position:
            spans[-1] = Span(spans[-1].first, spans[-1].count + 1, spans[-1].reason)
        else:
            spans.append(Span(position, 1, "the container marks its bytes as incomplete"))
    if table.broken_off:
        spans.append(Span(len(order.pts), 0, f"the file breaks off here ({table.broken_off})"))
    return spans


__all__ = ["NONE", "plan_film"]
