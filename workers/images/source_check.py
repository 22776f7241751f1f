"""The check of one page's pixels by two decoders, and the reading of the checked pixels."""

from __future__ import annotations

import zlib
from pathlib import Path

import pyvips

from contract.errors import BadInput
from contract.job import Spec
from contract.provenance import CLASSICAL
from media.images.header import Page
from media.images.pixels import open_pixels
from media.images.witness import Verdict, examine
from workers.images.sample_scale import refuse_unscaled

_SAMPLE = 10
"""With `--witness sample`, one image in this many is read by both decoders."""


class SourceCheck:
    """The check of one page of `source`. A copy with a repaired structure may be written to `scratch`."""

    def __init__(self, source: Path, page: Page, name: str, spec: Spec, scratch: Path) -> None:
        self._source, self._page, self._name, self._spec, self._scratch = source, page, name, spec, scratch
        self._verdict: Verdict | None = None

    def examine(self) -> None:
        """Read the page with both decoders if the spec requires it; raise BadInput for a page that must not be restored."""
        if self._page.picture.floating and self._spec.model not in CLASSICAL:
            refuse_unscaled(self._source, self._page, self._name, self._spec)
        every = self._spec.witness == "full"
        sampled = self._spec.witness == "sample" and zlib.crc32(self._name.encode()) % _SAMPLE == 0
        if every or sampled:
            self._judge(second=True)

    def examine_again(self) -> bool:
        """Find out why a page that was not examined cannot be decoded; return whether it can be decoded now."""
        if self._verdict is not None:
            return False
        verdict = self._judge(second=False)
        return bool(verdict.damage) or verdict.readable != self._source

    def _judge(self, second: bool) -> Verdict:
        verdict = examine(self._source, self._page, self._name, self._scratch, second)
        if verdict.damage and self._spec.strict:
            raise BadInput(
                f"{self._name} is damaged: {verdict.damage}; restore it from another copy, or omit --strict."
            )
        if verdict.damage:
            verdict.check(self._spec.salvage, self._name)
        self._verdict = verdict
        return verdict

    def pixels(self, anywhere: bool = False) -> pyvips.Image:
        """Open the page's upright samples; those of a damaged page as far as they can be decoded."""
        verdict = self._verdict
        file = verdict.readable if verdict else self._source
        lenient = bool(verdict and (verdict.damage or verdict.lenient))
        return open_pixels(
            file, self._page.picture, self._name, "none" if lenient else "warning", self._page.index, anywhere
        )

    def conclude(self, damage: list[str]) -> list[str]:
        """Return notes for the user, and append a sentence about damage to `damage`."""
        if self._verdict is None:
            return []
        if not self._verdict.damage:
            return list(self._verdict.notes)
        damage.append(
            f"{self._name} is {self._verdict.damage}"
            if self._verdict.damage.startswith("damaged")
            else f"{self._name}: {self._verdict.damage}"
        )
        return [*self._verdict.notes, "the source is damaged and was restored as far as it can be read"]

    def record(self) -> dict[str, object]:
        """Return the decoders that read the page, and the number of rows they read."""
        if self._verdict is None:
            return {"readers": ["libvips"]}
        return {"readers": list(self._verdict.readers), "rows": self._verdict.rows, "height": self._verdict.height}
