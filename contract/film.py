"""What ingest learns about a film and everybody later relies on: streams, frame index, colour, plan."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from contract.job import Natural


class Colour(Struct, frozen=True, forbid_unknown_fields=True):
    """How code values become light. Numbers are FFmpeg's AVCOL_* / AVCHROMA_LOC_*, kept to be written back as found.

    `matrix` and `full` are the resolved meaning that pixels are converted with: what the tags say, else what
    players assume for the size (BT.601 below 720 lines, BT.709 from there on; limited range unless yuvj/RGB).
    """

    matrix: Literal["bt601", "bt709", "bt2020", "rgb", "grey"]
    full: bool
    space: Natural = 2
    range: Natural = 0
    primaries: Natural = 2
    transfer: Natural = 2
    chroma_location: Natural = 0
