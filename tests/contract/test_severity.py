"""Severity: a lost title is a loss, a thumbnail of the old picture is not, and no loss hides behind a count."""

from __future__ import annotations

import pytest

from contract.severity import counts, grouped, losses, severity, worst

LOSSES = (
    "a.jpg: the C2PA manifest was left out: it signs the pixels before",
    "IPTC and Photoshop blocks were left out: WebP cannot hold them",
    "the extended XMP could not be joined to its packet; it was left out",
    "16 bits a sample become 8: JPEG cannot hold more",
    "alpha was flattened on white: JPEG cannot hold it",
)
NOTES = (
    "the EXIF thumbnail was left out: it shows the picture before",
    "XMP: thumbnails: left out, because it is of the picture before",
    "1 reduced pages or masks of the TIFF were left out",
    "/a/.b is hidden and was left out",
    "/a/c.txt is not a film or photograph and was left out",
    "EXIF orientation 6 was applied to the pixels and its tag removed",
)


@pytest.mark.parametrize("note", LOSSES)
def test_what_the_archive_had_is_a_loss(note: str) -> None:
    """Metadata, depth and alpha that a result does not carry are losses."""
    assert severity(note) == "loss"


@pytest.mark.parametrize("note", NOTES)
def test_copies_of_the_old_picture_are_notes(note: str) -> None:
    """Thumbnails, reduced pages and files that are no sources are nothing of the archive's own."""
    assert severity(note) == "note"


def test_the_worst_counts() -> None:
    """Damage is worse than a loss, failure worse than damage."""
    assert worst([], False, False) is None
    assert worst(NOTES, False, False) == "note"
    assert worst([*NOTES, LOSSES[0]], False, False) == "loss"
    assert worst(LOSSES, True, False) == "damage"
    assert worst(NOTES, True, True) == "failure"
    assert counts([*NOTES, *LOSSES], 2, 3) == {"note": len(NOTES), "loss": len(LOSSES), "damage": 2, "failure": 3}
    assert losses([*NOTES, *LOSSES]) == LOSSES


def test_equal_losses_are_one_line() -> None:
    """A thousand files that lose the same are one line with the first names; a single loss among them keeps its own."""
    many = [f"{n}.jpg: IPTC was left out" for n in range(1000)]
    assert grouped([*many, "title.tif: the title was left out"]) == [
        "1000 items (0.jpg, 1.jpg, 2.jpg, ...): IPTC was left out",
        "title.tif: the title was left out",
    ]
