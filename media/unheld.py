"""Ways for streams that a result's container cannot hold: convert the sound, put it beside the result, or leave it."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import av
import av.error

if TYPE_CHECKING:
    from av.stream import Stream

    from media.sound_configuration import SoundConfigurations

SIXTEEN = frozenset(("u8", "u8p", "s16", "s16p"))
"""Sample formats of decoders that hold no more than 16 bits."""
LOSSLESS = {"matroska": ("flac", "flac"), "mp4": ("flac", "flac"), "mov": ("pcm_s16le", "pcm_s24le")}
"""Encoders of lossless sound by muxer: for 16 bits and for more."""
BESIDE = (("asf", "wma"), ("wav", "wav"), ("matroska", "mka"), ("mov", "mov"), ("vob", "vob"), ("nut", "nut"))
"""Muxers, and suffixes, of files for one stream, in the order in which they are tried."""
CAPTION_TRACKS = frozenset(("eia_608", "cc_dec"))
"""FFmpeg's names of tracks of CEA-608, and of what decodes them; beside a result they are a Scenarist file, too."""
CHANGING = (("mpegts", "ts"),)
"""More of them for sound whose configuration changes."""
MOST_CHANNELS = 8
"""Channels that FLAC takes."""


def lossless_encoder(container: str, stream: Stream) -> str:
    """Return the encoder by which `container` holds the sound of `stream` as it is decoded; "" when there is none."""
    context = stream.codec_context
    if stream.type != "audio" or context is None or container not in LOSSLESS:
        return ""
    if not context.rate or context.layout.nb_channels > MOST_CHANNELS:  # type: ignore[attr-defined]
        return ""
    few = context.format is not None and context.format.name in SIXTEEN  # type: ignore[attr-defined]
    return LOSSLESS[container][0 if few else 1]


def beside(stream: Stream, changing: SoundConfigurations | None = None) -> tuple[str, str] | None:
    """Return the muxer and the suffix of a file that holds `stream` alone, None when nothing does.

    `changing` are the configurations of sound that changes in the middle: the file must keep them all.
    """
    if stream.type not in ("audio", "subtitle"):
        return None
    for muxer, suffix in (*BESIDE, *(CHANGING if changing else ())):
        if changing is not None and not changing.held_by(muxer):
            continue
        if suffix == "wma" and not (stream.codec_context and stream.codec_context.name.startswith("wma")):
            continue
        try:
            with av.open(io.BytesIO(), "w", format=muxer) as probe:
                probe.add_stream_from_template(stream, opaque=True)
                probe.start_encoding()
        except (ValueError, av.error.FFmpegError):
            continue
        return muxer, suffix
    return None
