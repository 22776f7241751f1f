"""Packet runs of a film, cut in one pass and constant memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from contract.errors import SourceChanged
from contract.film import FilmChunk, FilmIndex
from contract.packets import CORRUPT, DISCARD, KEY, MARKED, RunHeader, RunOwner, RunPacket, write_run
from media.columns import unpack
from media.decoder_state import CARRIED, DecoderState
from media.demuxing import demux
from media.opening import open_media
from orchestrator.ingest.lossless import cut_lossless
from orchestrator.ingest.packets import Inspector

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.codeccontext import VideoCodecContext
    from av.video.stream import VideoStream


def cut(source: BinaryIO, index: FilmIndex, owner: RunOwner | None = None) -> Iterator[bytes]:
    """Yield one packet run per chunk of `index`, in order. Raises SourceChanged when the source is not the indexed one."""
    return cut_lossless(source, index, owner) if index.lossless else _cut_packets(source, index, owner)


def _cut_packets(source: BinaryIO, index: FilmIndex, owner: RunOwner | None) -> Iterator[bytes]:
    with open_media(source, "the source") as container:
        stream: VideoStream = container.streams[index.stream]  # type: ignore[assignment]
        packets = _read(container, stream, index)
        state = DecoderState(index.codec, stream.codec_context.extradata or b"")
        starts = {chunk.start for chunk in index.chunks}
        entries: dict[int, RunPacket] = {}
        held: deque[RunPacket] = deque()
        held_from = number = 0
        for i, chunk in enumerate(index.chunks):
            while number < chunk.stop:
                packet = next(packets, None)
                if packet is None:
                    raise SourceChanged("the source gives fewer packets than when it was indexed; submit it again.")
                held.append(packet)
                if number in starts:
                    entry = state.entry(packet.data, packet.side)
                    entries[number] = msgspec.structs.replace(packet, data=entry.data, side=entry.side)
                state.see(packet.data, packet.side)
                number += 1
                if held_from < chunk.start:
                    held.popleft()
                    held_from += 1
            needed = [held[n] for n in range(chunk.start - held_from, chunk.stop - held_from)]
            needed[0] = entries[chunk.start]
            yield b"".join(write_run(_header(index, chunk, stream, owner), needed))
            following = index.chunks[i + 1].start if i + 1 < len(index.chunks) else number
            while held and held_from < following:
                held.popleft()
                held_from += 1
            entries = {start: entry for start, entry in entries.items() if start >= following}


def _read(container: InputContainer, stream: VideoStream, index: FilmIndex) -> Iterator[RunPacket]:
    positions = unpack(index.positions)
    inspector = Inspector(index.codec, stream.codec_context.extradata or b"")
    for number, packet in enumerate(demux(container, {index.stream}, [])):
        if number >= len(positions):
            raise SourceChanged("the source gives more packets than when it was indexed; submit it again.")
        side = tuple((s.data_type, bytes(s)) for s in packet.iter_sidedata() if s.data_type in CARRIED)
        flags = inspector.flags(packet) & (KEY | DISCARD | CORRUPT)  # type: ignore[arg-type]
        flags |= MARKED if packet.is_keyframe else 0
        yield RunPacket(int(positions[number]), flags, bytes(packet), side)


def _header(index: FilmIndex, chunk: FilmChunk, stream: VideoStream, owner: RunOwner | None) -> RunHeader:
    context = stream.codec_context
    return RunHeader(
        first=chunk.first,
        count=chunk.count,
        frames=index.frames,
        codec=index.codec,
        extradata=context.extradata or b"",
        width=index.width,
        height=index.height,
        pix_fmt=index.pix_fmt,
        colour=index.colour,
        encoding=index.encoding,
        codec_tag=_tag(context),
        bits_per_coded_sample=context.bits_per_coded_sample,
        reorder=context.reorder_depth,
        preroll=chunk.preroll,
        scanning=index.scanning,
        deinterlace=index.deinterlace,
        context=index.context,
        owner=owner,
    )


def _tag(context: VideoCodecContext) -> str:
    try:
        return context.codec_tag
    except UnicodeDecodeError:  # four arbitrary bytes that no known decoder reads
        return ""
