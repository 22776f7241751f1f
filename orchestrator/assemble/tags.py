"""Tags: which of a source's belong into the result, and which of them arrived."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from contract.media import open_media

if TYPE_CHECKING:
    from pathlib import Path

    from av.container import InputContainer

    from contract.film import FilmIndex

OWN = frozenset(
    ("major_brand", "minor_version", "compatible_brands", "encoder", "duration", "creation_time", "handler_name")
)
"""Tags by which a container describes itself: the new one writes its own, so that their loss is none."""
ABOUT_ENCODING = ("bps", "number_of_frames", "number_of_bytes", "_statistics", "vendor_id", "encoder", "duration")
"""Tags of a film that describe how its source was encoded, by their beginning."""
MP4_TAGS = frozenset(
    [
        "title",
        "artist",
        "album_artist",
        "composer",
        "album",
        "date",
        "comment",
        "genre",
        "copyright",
        "grouping",
        "lyrics",
        "description",
        "synopsis",
        "show",
        "episode_id",
        "network",
        "keywords",
        "track",
        "disc",
        "creation_time",
        "hd_video",
        "gapless_playback",
        "compilation",
        "media_type",
        "location",
        "make",
        "model",
        "timecode",
    ]
)
"""Tags that mp4 has a place of its own for (libavformat/movenc.c); with any other, all are written as free keys."""


def carried_tags(tags: Mapping[str, str], film: bool) -> dict[str, str]:
    """What of a stream's or container's `tags` is to be carried; `film` for the stream that is encoded anew."""
    found = {}
    for key, value in tags.items():
        word = key.lower()
        if word in ("major_brand", "minor_version", "compatible_brands", "encoder"):
            continue
        if film and word.startswith(ABOUT_ENCODING):
            continue
        found[key] = value
    return found


def lost_tags(source: InputContainer, out: Path, index: FilmIndex) -> list[str]:
    """One note on everything that `out` does not say any more: tags, languages, dispositions, chapters."""
    lost: list[str] = []
    with out.open("rb") as file, open_media(file, "the result") as result:
        lost += _missing(carried_tags(source.metadata, film=False), result.metadata, "the film")
        if len(result.chapters()) < len(source.chapters()):
            lost.append("chapters")
        targets = list(result.streams)
        order = [s for s in index.streams if s.copied or s.index == index.stream]
        plain = [s for s in order if s.kind not in ("attachment", "cover")]
        for known, target in zip(
            plain, [t for t in targets if t.type != "attachment" and not int(t.disposition) & 1 << 10], strict=False
        ):
            original = source.streams[known.index]
            what = f"stream {known.index}"
            lost += _missing(carried_tags(original.metadata, film=known.index == index.stream), target.metadata, what)
            if int(original.disposition) & ~int(target.disposition) & ~1:
                lost.append(f"marks of {what} ({original.disposition.name or int(original.disposition)})")
    if not lost:
        return []
    return [f"{index.container} does not keep: {', '.join(lost)}"]


def _missing(before: Mapping[str, str], after: Mapping[str, str], what: str) -> list[str]:
    have = {k.lower(): v for k, v in after.items()}
    return [
        f"{key}={value[:60]!r} of {what}"
        for key, value in before.items()
        if key.lower() not in OWN
        and have.get(key.lower()) != value
        and not (key.lower() == "language" and value == "und")
    ]
