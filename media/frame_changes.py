"""Frames whose size, format or colour differs from the film's header: each is delivered and reported."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from contract.severity import Loss
from media.codecs import plain_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from av.video.frame import VideoFrame

    from contract.film import Colour

UNSAID = {"range": (0,), "matrix": (2, 3), "transfer": (0, 2, 3)}
"""Values of frames with unspecified colour properties (FFmpeg's AVCOL_RANGE_*, AVCOL_SPC_*)."""
ALIKE = {"matrix": {5: 6, 10: 9, 7: 1}, "transfer": {6: 1, 14: 1, 15: 1}, "range": {}}
"""Values that are converted in the same way: matrices by their coefficients, transfer functions by their curve."""
LEFT_BEHIND = {
    "A53_CC": "captions inside the pictures (CEA-608/708)",
    "AFD": "the active format description",
    "STEREO3D": "how two views are packed into one picture",
    "SPHERICAL": "the spherical projection",
    "S12M_TIMECODE": "time codes inside the pictures",
    "ICC_PROFILE": "the pictures' ICC profile",
    **dict.fromkeys(
        (
            "MASTERING_DISPLAY_METADATA",
            "CONTENT_LIGHT_LEVEL",
            "AMBIENT_VIEWING_ENVIRONMENT",
            "DYNAMIC_HDR_PLUS",
            "DYNAMIC_HDR_VIVID",
            "DOVI_METADATA",
            "DOVI_RPU_BUFFER",
        ),
        "HDR metadata inside the pictures",
    ),
}
"""Side data of pictures that encoders do not get, by PyAV's name."""


_ODD = re.compile(r"(\d+) frames from (\d+) on are (.*)", re.S)


def merged(notes: Iterable[str]) -> list[str]:
    """Merge the notes of all chunks of a film, each once; add up the counts of `FrameChanges`.

    Counted ones come first, by the first of their frames, so that their order does not depend on where chunks are cut.
    """
    counted: dict[str, tuple[int, int]] = {}
    for note in notes:
        odd = _ODD.fullmatch(note)
        words = odd.group(3) if odd else note
        count, first = counted.get(words, (0, int(odd.group(2)) if odd else -1))
        counted[words] = count + (int(odd.group(1)) if odd else 0), first
    ordered = sorted(counted.items(), key=lambda note: (not note[1][0], note[1][1]))
    return [f"{count} frames from {first} on are {words}" if count else words for words, (count, first) in ordered]


def side_kinds(frame: VideoFrame) -> list[str]:
    """List the side data of `frame` by PyAV's names; nothing if PyAV does not know one of them (such as EXIF)."""
    try:
        return [side.type.name for side in frame.side_data]  # type: ignore[attr-defined]  # its stubs say: a mapping
    except ValueError:
        return []


class FrameChanges:
    """Collector of frames that differ from the header's `size`, `pix_fmt` and `colour`.

    `keeps` has the names of side data that the encoder keeps.
    """

    def __init__(self, size: tuple[int, int], pix_fmt: str, colour: Colour, keeps: Iterable[str] = ()) -> None:
        self._size, self._pix_fmt, self._colour = size, plain_name(pix_fmt), colour
        self._keeps = frozenset(keeps)
        self._odd: dict[str, list[int]] = {}
        self._left: set[str] = set()
        self._looked = False

    def see(self, position: int, frame: VideoFrame) -> None:
        """Compare the frame at `position` with the header."""
        if (frame.width, frame.height) != self._size:
            self._note(f"{frame.width}x{frame.height} in the source and are scaled to the film's size", position)
        name = plain_name(frame.format.name)
        if name != self._pix_fmt:
            self._note(f"{frame.format.name} in the source and are converted as all others are", position)
        full = 2 if frame.format.name.startswith("yuvj") else int(frame.color_range)
        self._compare("range", full, self._colour.range or (2 if self._colour.full else 1), position)
        self._compare("matrix", int(frame.colorspace), self._colour.space, position)
        self._compare("transfer", int(frame.color_trc), self._colour.transfer, position)
        if self._looked:
            return
        self._looked = True  # once: PyAV's side data and their frame hold each other, so that it is freed late
        for kind in side_kinds(frame):
            if kind in LEFT_BEHIND and kind not in self._keeps:
                self._left.add(LEFT_BEHIND[kind])

    def _compare(self, what: str, own: int, film: int, position: int) -> None:
        alike: dict[int, int] = ALIKE[what]
        if own in UNSAID[what] or film in UNSAID[what] or alike.get(own, own) == alike.get(film, film):
            return
        self._note(
            f"tagged with {what} {own} in the source and taken for what the film is tagged with, {film}", position
        )

    def _note(self, words: str, position: int) -> None:
        self._odd.setdefault(words, []).append(position)

    @property
    def notes(self) -> list[str]:
        """Return one sentence for each kind of difference."""
        said = [f"{len(found)} frames from {found[0]} on are {words}" for words, found in self._odd.items()]
        return said + [Loss(f"not carried: {words}") for words in sorted(self._left)]
