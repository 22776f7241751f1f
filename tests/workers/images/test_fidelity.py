"""Every kind of image of the fidelity page, compared with its source by another library."""

from __future__ import annotations

from pathlib import Path

import pytest

from testkit.images import Case, cases, examine


@pytest.mark.slow
@pytest.mark.parametrize("case", list(cases()), ids=lambda case: case.name)
def test_nothing_is_lost_without_a_note(case: Case, tmp_path: Path) -> None:
    """Size, depth, bands, pixels (exact in lossless formats), profile, EXIF, XMP, IPTC and density are as expected."""
    _, wrong = examine(case, tmp_path)
    assert not wrong
