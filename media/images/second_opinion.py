"""The second reader's verdict on a picture."""

from __future__ import annotations

from dataclasses import dataclass

from media.images.block_means import Means


class Undecodable(Exception):
    """Raised when the second reader does not know this kind of file: no evidence against it."""


@dataclass(frozen=True)
class Opinion:
    """Result of reading a picture with a second decoder.

    `means` cover `rows` rows. `complaint` is the decoder's, empty when it had none. `lossy`
    tells that decoders may differ by a few levels.
    """

    reader: str
    means: Means | None
    rows: int
    complaint: str = ""
    lossy: bool = False


def first_line(error: Exception) -> str:
    """Return the first line of a decoder's complaint, or the error's name."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
