"""Files beside sources: company is no failure, checksums are checked, sidecars go with results, clashing names are named."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from PIL import Image

from contract.errors import BadInput
from contract.job import Item, Spec
from contract.settings import Settings
from orchestrator.submission.neighbours import carried_sidecar, clashes
from orchestrator.submission.result_names import sidecar_name
from orchestrator.submission.sources import find
from orchestrator.submission.submit import draft

SPEC = Spec(model="lanczos", scale=2.0)


def picture(path: Path, colour: int = 9) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 30), (colour, 20, 30)).save(path)
    return path


def digest(path: Path, kind: str) -> str:
    return hashlib.new(kind, path.read_bytes()).hexdigest()


def test_company_is_left_out_and_named(tmp_path: Path) -> None:
    """Files that systems, browsers and people leave in folders are neither sources nor failures."""
    picture(tmp_path / "a.jpg")
    names = (
        "Thumbs.db",
        "desktop.ini",
        "ZbThumbnail.info",
        "pspbrwse.jbf",
        "Picasa.bup",
        "readme.docx",
        "list.xlsx",
        "mets.XML",
        "audio.wav",
        "._a.jpg",
    )
    for name in (*names, ".DS_Store"):
        (tmp_path / name).write_bytes(b"\0\5\6")
    found = find([tmp_path])
    assert [file.name for file in found.files] == ["a.jpg"]
    for name in names:
        assert any(name in note and "left out" in note for note in found.notes)


@pytest.mark.parametrize("kind", ["md5", "sha1", "sha256", "sha512"])
@pytest.mark.parametrize("form", ["list", "beside", "bsd", "bag"])
def test_checksums_are_checked(tmp_path: Path, kind: str, form: str) -> None:
    """A file that does not match its checksum fails by name; the others go on."""
    good, bad = picture(tmp_path / "good.png"), picture(tmp_path / "sub" / "bad file.png", 8)
    right, wrong = digest(good, kind), digest(good, kind)
    if form == "list":
        (tmp_path / f"all.{kind}").write_text(f"{right}  good.png\n{wrong} *sub/bad file.png\n")
    elif form == "beside":
        (tmp_path / f"good.png.{kind}").write_text(right + "\n")
        (tmp_path / "sub" / f"bad file.png.{kind}").write_text(wrong.upper())
    elif form == "bsd":
        (tmp_path / f"all.{kind}").write_text(
            f"{kind.upper()} (good.png) = {right}\n{kind.upper()} (sub/bad file.png) = {wrong}\n"
        )
    else:
        (tmp_path / f"manifest-{kind}.txt").write_text(f"{right}  good.png\n{wrong}  sub/bad file.png\n")
    made = draft([tmp_path], SPEC, Settings())
    assert [item.name for item in made.items] == ["good.png", "sub/bad file.png"]
    assert list(made.refused) == [1]
    assert "is damaged" in made.refused[1]
    assert digest(bad, kind) in made.refused[1]
    if form == "beside":
        with pytest.raises(BadInput, match="says"):
            draft([bad], SPEC, Settings())


def test_lists_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    """Lines that are no checksums, and files that are not there, are counted in a note."""
    picture(tmp_path / "a.png")
    (tmp_path / "x.md5").write_text("abc  a.png\n" + "0" * 32 + "  gone.png\n")
    notes = find([tmp_path]).notes
    assert any("1 lines that are no MD5 checksums" in note for note in notes)
    assert any("1 files that are not there" in note for note in notes)


def test_sidecars_belong_to_their_source(tmp_path: Path) -> None:
    """photo.xmp and photo.jpg.xmp belong to photo.jpg and keep their form; one without a source is named."""
    for name in ("a.jpg", "b.jpg"):
        picture(tmp_path / name)
    for name in ("a.xmp", "b.jpg.xmp", "stray.xmp"):
        (tmp_path / name).write_text("<x:xmpmeta xmlns:x='adobe:ns:meta/'/>")
    found = find([tmp_path])
    assert [file.sidecar and file.sidecar.name for file in found.files] == ["a.xmp", "b.jpg.xmp"]
    assert any("stray.xmp is an XMP sidecar of no source" in note for note in found.notes)
    assert sidecar_name("a.jpg", Path("out/a.png"), "a.xmp") == Path("out/a.xmp")
    assert sidecar_name("b.jpg", Path("out/b.png"), "b.jpg.xmp") == Path("out/b.png.xmp")


def test_a_sidecar_is_about_the_result(tmp_path: Path) -> None:
    """A sidecar's properties about pixels are updated for the result; the others stay."""
    source = picture(tmp_path / "a.png")
    place = tmp_path / "a.xmp"
    place.write_text(
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:xmp="http://ns.adobe.com/xap/1.0/" tiff:ImageWidth="40" xmp:Rating="5"/></rdf:RDF></x:xmpmeta>'
    )
    item = Item(0, "image", "a.png", "a.png", "0" * 64, 1, 1200)
    packet, notes = carried_sidecar(place, source, item, SPEC, 1)
    assert b'ImageWidth="80"' in packet
    assert b'Rating="5"' in packet
    assert notes == []


def test_names_that_clash_elsewhere_are_named() -> None:
    """Case and composed or decomposed letters make no difference on many systems."""
    assert clashes(["a/Foto.jpg", "a/foto.jpg", "b/foto.jpg"]) == [
        "'a/Foto.jpg' and 'a/foto.jpg' are one name where case or the form of Unicode is ignored (Windows, macOS, SMB)"
    ]
    assert len(clashes(["Müller.jpg", "Mu\u0308ller.jpg"])) == 1
