"""Division of a film into chunks, as pure functions.

A chunk owns a range of positions and is decoded from a run of packets: from a key packet (and one group of pictures
before it, so that the decoder has settled) to the last packet that any owned frame needs. Cuts fall on key frames
where those are near enough, and inside long groups otherwise: the run then starts at the group's key packet.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from contract.film import FilmChunk
from contract.job import Spec

Column = npt.NDArray[np.int64]

WORK_FLOP = 60e12
"""The network's work per chunk: two minutes for two CPU cores at 0.5 TFLOP/s, a second or two for a data-centre GPU."""
OVERHEAD_FLOP = 40_000.0
"""Work per input pixel of decoding, converting and encoding, in the same unit, so that chunks of `identity` have a size too."""
FACE_FLOP = 396e9
"""GFPGAN's work per face; the number of faces is not known beforehand, so one per frame is counted."""
MIN_FRAMES, MAX_FRAMES = 4, 3000
MAX_RUN_BYTES = 48 << 20
"""Largest run in bytes; it is held in memory while it is cut."""
MAX_LEAD_IN = 600
"""Packets that may be decoded only to reach a chunk in the middle of a group; a source with more is transcoded."""


@dataclass(frozen=True)
class Keys:
    """Usable key packets: their ids and the positions of their frames, both ascending."""

    ids: Column
    positions: Column


def work_per_pixel(spec: Spec) -> float:
    """Return the floating point operations of the spec's network per input pixel (design figures, scaled by depth)."""
    flop = OVERHEAD_FLOP
    for weights in spec.weights:
        numbers = weights.parameters
        if weights.architecture == "rrdbnet":
            shuffle = {1: 4, 2: 2}.get(int(numbers.get("scale", 4)), 1)
            flop += 35.85e6 * float(numbers.get("num_block", 23)) / 23 / shuffle**2
        elif weights.architecture == "srvgg":
            flop += 1.24e6 * float(numbers.get("num_conv", 16)) / 16
    return flop


def target_frames(width: int, height: int, spec: Spec) -> int:
    """Return the frames per chunk that make about WORK_FLOP."""
    if spec.chunk_frames:
        return spec.chunk_frames
    work = width * height * work_per_pixel(spec) + (FACE_FLOP if spec.faces else 0)
    return max(MIN_FRAMES, min(MAX_FRAMES, round(WORK_FLOP / work)))


def cut_positions(frames: int, target: int, keys: Keys, exact: bool) -> list[int]:
    """Return the first position of every chunk.

    `exact` keeps to `target`; otherwise the last chunks get smaller, down to a quarter, so that workers finish together.
    """
    starts = [0]
    while True:
        here = starts[-1]
        left = frames - here
        want = target if exact else max(min(target, left // 4), min(target, max(MIN_FRAMES, target // 4)))
        if left <= (want if exact else want * 1.25):
            return starts
        goal = here + want
        nearest = _nearest(keys.positions, goal)
        near_enough = nearest > here and abs(nearest - goal) <= want // 2
        starts.append(nearest if near_enough else goal)


def _nearest(positions: Column, goal: int) -> int:
    at = int(np.searchsorted(positions, goal))
    around = positions[max(0, at - 1) : at + 1]
    return int(around[np.argmin(np.abs(around - goal))]) if len(around) else -1


def plan_chunks(
    starts: list[int], frames: int, positions: Column, keys: Keys, context: int, intra: bool
) -> list[FilmChunk]:
    """Return the chunks that begin at `starts`, each with the run of packets that it needs.

    `positions` has the position of each packet id. `context` frames before and after the owned ones are decodable too. An
    `intra` source needs no preroll. Field packets (two ids with one position) stay together.
    """
    placed = np.flatnonzero(positions >= 0)
    last_needed = np.zeros(frames, dtype=np.int64)
    np.maximum.at(last_needed, positions[placed], placed)
    first_packet = np.full(frames, len(positions), dtype=np.int64)
    np.minimum.at(first_packet, positions[placed], placed)
    chunks = []
    for start, end in zip(starts, [*starts[1:], frames], strict=True):
        low, high = max(0, start - context), min(frames, end + context)
        stop = int(last_needed[low:high].max()) + 1
        if intra:
            begin = settled = int(first_packet[low:high].min())
        else:
            at = int(np.searchsorted(keys.positions, low, side="right")) - 1
            begin = int(keys.ids[at - 1]) if at >= 1 else 0
            settled = int(keys.ids[at]) if at >= 1 else 0
        chunks.append(FilmChunk(first=start, count=end - start, start=begin, stop=stop, preroll=settled - begin))
    return chunks


def split_by_bytes(starts: list[int], frames: int, size_before: Column) -> list[int]:
    """Cut chunks of more than MAX_RUN_BYTES further; `size_before` has the bytes before each position."""
    cuts = []
    for start, end in zip(starts, [*starts[1:], frames], strict=True):
        weight = int(size_before[end] - size_before[start])
        parts = min(end - start, -(-weight // MAX_RUN_BYTES))
        cuts += [start + (end - start) * i // max(1, parts) for i in range(max(1, parts))]
    return cuts
