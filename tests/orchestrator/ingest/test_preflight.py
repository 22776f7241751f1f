"""Preflight: what each picture would lose is known from its header, before any work."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from PIL import Image

from contract.errors import BadInput
from contract.job import Spec
from contract.settings import Settings
from orchestrator.cli.main import call
from orchestrator.ingest.preflight import preflight
from workers.generators.registry import load
from workers.images.image import enhance_image


def jpeg(path: Path, after: bytes = b"") -> Path:
    file = io.BytesIO()
    Image.new("RGB", (40, 30), (9, 20, 30)).save(file, "JPEG", comment=b"a comment")
    data = file.getvalue()
    block = b"Photoshop 3.0\0" + b"8BIM\x04\x04\0\0" + (12).to_bytes(4, "big") + b"\x1c\x02\x78\x00\x07Caption"
    path.write_bytes(data[:2] + b"\xff\xed" + (len(block) + 2).to_bytes(2, "big") + block + data[2:] + after)
    return path


@pytest.mark.parametrize("form", ["auto", "png", "tiff", "webp"])
def test_preflight_foretells_what_a_restoration_says(tmp_path: Path, form: str) -> None:
    """Losses are those of the restoration itself, whatever format is asked for."""
    source = jpeg(tmp_path / "a.jpg", b"PK\3\4 an archive")
    spec = Spec(model="lanczos", scale=2.0, image_format=form)  # type: ignore[arg-type]  # one of the literals
    before = preflight(source, "a.jpg", spec, 1)
    out = tmp_path / before.result
    made = enhance_image(
        source, out.name if form != "auto" else "b.jpg", spec, load(spec, {}, Settings(device="cpu")), out, lambda: None
    )
    assert set(before.losses) == {note for note in made.notes if note in before.losses or "left out" in note}
    assert any("ZIP" in loss for loss in before.losses)
    assert any("IPTC" in loss for loss in before.losses) == (form == "webp")


def test_strict_refuses_a_loss(tmp_path: Path) -> None:
    """With --strict a picture that would lose metadata fails, and the message says what."""
    source = jpeg(tmp_path / "a.jpg", b"PK\3\4 an archive")
    spec = Spec(model="lanczos", scale=2.0, strict=True)
    with pytest.raises(BadInput, match=r"--strict: a\.jpg would lose something: .*ZIP"):
        enhance_image(source, "a.jpg", spec, load(spec, {}, Settings(device="cpu")), tmp_path / "out", lambda: None)


def test_probe_of_a_folder_is_one_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each source has a line with its severity; JSON has the same; a source that would fail makes the exit code 2."""
    jpeg(tmp_path / "plain.jpg")
    jpeg(tmp_path / "motion.jpg", b"\0\0\0\x18ftypmp42" + bytes(99))
    (tmp_path / "broken.jpg").write_bytes(b"nothing")
    Image.new("L", (8, 8)).save(tmp_path / "clean.png")
    command = ["probe", str(tmp_path), "-m", "lanczos", "-s", "2"]
    assert call(command) == 2
    shown = capsys.readouterr().out
    lines = {line.split()[1]: line for line in shown.splitlines() if line and not line.startswith(" ")}
    assert lines["motion.jpg"].startswith("loss")
    assert lines["broken.jpg"].startswith("failure")
    assert "nothing is lost" in lines["clean.png"]
    call([*command, "--json"])
    found = json.loads(capsys.readouterr().out)
    assert {entry["name"]: entry["severity"] for entry in found} == {
        "broken.jpg": "failure", "clean.png": "", "motion.jpg": "loss", "plain.jpg": "",
    }  # fmt: skip
