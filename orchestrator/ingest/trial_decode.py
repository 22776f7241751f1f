"""A short trial decode, for sources whose packets alone cannot be trusted."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import av

from media.decoding import SequentialDecoder, refers_to_others
from orchestrator.ingest.presentation_order import Disorder, Order

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

    from orchestrator.ingest.chunking import Keys

TRIAL = 48
"""Packets of a trial: several groups of pictures of a broadcast, a fraction of a second of decoding."""
SETTLE = 17
"""Packets at the end of a trial whose frames may still be inside the decoder."""
SOUND_CODECS = frozenset(("h264", "hevc", "av1", "libdav1d", "vp8", "vp9", "mpeg1video", "mpeg2video", "ffv1"))
KEYED_CODECS = SOUND_CODECS | {
    "mpeg4", "msmpeg4", "msmpeg4v1", "msmpeg4v2", "wmv1", "wmv2", "flv", "h263", "theora", "png",
}  # fmt: skip
"""Codecs with references between frames whose key packets are marked correctly.

Others are not cut: demuxers mark every packet of rpza, Flash Screen Video or H.261 as a key, and Cinepak's key packets
decode only in part alone."""
SOUND_FORMATS = frozenset(("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "mpegts", "mpeg", "mxf", "nut", "flv", "ivf"))


def needs_trial(form: str, codec: str, order: Order, first_key: int) -> bool:
    """Return True if the packets alone cannot be trusted.

    That holds for containers and codecs that are known for wrong order, and for films that begin with pictures which
    refer to something before them.
    """
    starts_in_the_middle = first_key < 0 or order.positions[first_key] > 0 or first_key > 0
    return form not in SOUND_FORMATS or codec not in SOUND_CODECS or starts_in_the_middle


def check_cuttable(codec: str) -> None:
    """Raise Disorder unless the packets of `codec` (FFmpeg's name) tell where decoding can start."""
    if codec not in KEYED_CODECS and not av.Codec(codec, "r").intra_only:
        raise Disorder(f"packets of {codec} do not tell for certain where decoding can start")


def run_trial(
    container: InputContainer, stream: VideoStream, order: Order, keys: Keys, checkpoint: Callable[[], None]
) -> frozenset[int]:
    """Decode the head of the film and compare it with `order` and `keys`.

    Returns ids of packets at the very start, before or leading the first key packet, that give no frame. Raises Disorder
    when frames come in another order than planned or not one for each packet, or when a marked key packet is not a key.
    """
    first_key = int(keys.ids[0]) if len(keys.ids) else -1
    limit = max(TRIAL, first_key + 1 + TRIAL)
    decoder = SequentialDecoder(container, stream, limit, checkpoint)
    marked = set(keys.ids[keys.ids < limit].tolist())
    given = []
    for packet, frame in decoder:
        given.append(packet)
        if packet in marked and refers_to_others(frame):
            raise Disorder("packets are marked as key frames that are none")
    places = [int(order.positions[p]) for p in given]
    if sorted(places) != places or len(set(places)) != len(places):
        raise Disorder("frames come out of the decoder in another order than their timestamps say")
    head = int(order.positions[first_key]) if first_key >= 0 else 0
    seen = set(given)
    ungiven = set()
    for packet in range(min(limit, len(order.positions))):
        place = int(order.positions[packet])
        if place < 0 or packet in seen or (packet and int(order.positions[packet - 1]) == place):
            continue
        if place < head:
            ungiven.add(packet)
        elif packet < limit - SETTLE and packet not in decoder.trouble:
            raise Disorder("packets do not give one frame each")
    return frozenset(ungiven)
