"""Severity: a lost title is a loss, a thumbnail of the old picture is not, and no loss hides behind a count."""

from __future__ import annotations

import msgspec

from contract.documents import decode, encode
from contract.job import Done
from contract.severity import Loss, about, counts, grouped, losses, marked, plain, refusal, severity, worst

LOSSES = (
    Loss("a.jpg: the C2PA manifest was left out: it signs the pixels before"),
    Loss("IPTC and Photoshop blocks were left out: WebP cannot hold them"),
)
NOTES = (
    "the EXIF thumbnail was left out: it shows the picture before",
    "XMP: thumbnails: left out, because it is of the picture before",
    "1 reduced pages or masks of the TIFF were left out",
    "/a/.b is hidden and was left out",
    "/a/c.txt is not a film or photograph and was left out",
    "EXIF orientation 6 was applied to the pixels and its tag removed",
)


def test_the_class_of_a_sentence_is_its_severity() -> None:
    """Words decide nothing: a loss is a sentence of its class, whatever it says."""
    assert {severity(note) for note in LOSSES} == {"loss"}
    assert {severity(note) for note in NOTES} == {"note"}
    assert severity("the title was left out") == "note"
    assert severity(Loss("gone")) == "loss"


def test_documents_keep_losses() -> None:
    """A document holds plain strings beside those that are losses; read back, they have their class again."""
    said = [NOTES[0], LOSSES[0], NOTES[1]]
    done = Done(0, "a" * 32, "w", 1, (), notes=plain(said), losses=losses(said))
    back = decode(encode(done), Done, "done.json")
    assert back.notes == tuple(said)
    assert [severity(note) for note in marked(back.notes, back.losses)] == ["note", "loss", "note"]
    assert [severity(note) for note in about("a.jpg: ", said)] == ["note", "loss", "note"]
    assert encode(msgspec.structs.replace(done, notes=tuple(said))) == encode(done)


def test_strict_names_every_loss() -> None:
    """The sentence of --strict holds every loss, and nothing is refused without one."""
    assert refusal("a.jpg", NOTES) == ""
    assert all(loss in refusal("a.jpg", [*NOTES, *LOSSES]) for loss in LOSSES)


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
