"""Cutting a film into packet runs, in one pass and constant memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

from av.stream import Discard

from contract.errors import SourceChanged
from contract.film import FilmIndex, unpack
from contract.media import open_media
from contract.packets import CORRUPT, DISCARD, KEY, RunHeader, RunPacket, write_run
from orchestrator.ingest.packets import packet_flags

if TYPE_CHECKING:
    from av.video.stream import VideoStream

CARRIED = ("new_extradata", "param_change", "palette", "matroska_block_additional")
"""Side data that changes how a packet is decoded; the rest is of no use to a bare decoder."""


def cut(source: BinaryIO, index: FilmIndex) -> Iterator[bytes]:
    """One packet run per chunk of `index`, in order. Raises SourceChanged when the source is not the indexed one."""
    positions = unpack(index.positions)
    changed = SourceChanged("the source gives other packets than when it was indexed; submit it again.")
    with open_media(source, "the source") as container:
        stream: VideoStream = container.streams[index.stream]  # type: ignore[assignment]
        for other in container.streams:
            if other.index != index.stream:
                other.discard = Discard.all
        held: deque[RunPacket] = deque()
        held_from, number = 0, 0
        packets = container.demux(stream)
        for i, chunk in enumerate(index.chunks):
            while number < chunk.stop:
                packet = next(packets, None)
                if packet is None:
                    raise changed
                side = tuple((s.data_type, bytes(s)) for s in packet.iter_sidedata() if s.data_type in CARRIED)
                flags = packet_flags(packet, index.codec) & (KEY | DISCARD | CORRUPT)
                held.append(RunPacket(int(positions[number]), flags, bytes(packet), side))
                number += 1
                while held and held_from < chunk.start:
                    held.popleft()
                    held_from += 1
            while held and held_from < chunk.start:
                held.popleft()
                held_from += 1
            if held_from > chunk.start:
                raise changed
            header = RunHeader(
                first=chunk.first,
                count=chunk.count,
                frames=index.frames,
                codec=index.codec,
                extradata=stream.codec_context.extradata or b"",
                width=index.width,
                height=index.height,
                pix_fmt=index.pix_fmt,
                colour=index.colour,
                encoding=index.encoding,
                codec_tag=stream.codec_context.codec_tag,
                bits_per_coded_sample=stream.codec_context.bits_per_coded_sample,
                reorder=stream.codec_context.reorder_depth,
                packet_time_base=index.time_base,
                scanning=index.scanning,
                deinterlace=index.deinterlace,
                preroll=chunk.preroll,
                context=1 if index.deinterlace else 0,
            )
            needed = list(held)[: chunk.stop - held_from]
            yield b"".join(write_run(header, needed))
            nxt = index.chunks[i + 1].start if i + 1 < len(index.chunks) else number
            while held and held_from < nxt:
                held.popleft()
                held_from += 1
