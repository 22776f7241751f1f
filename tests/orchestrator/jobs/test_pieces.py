"""Pieces of films in real jobs: other jobs than the whole, and provenance that names the frames."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import av
import numpy as np
import pytest
import pyvips
from msgspec.structs import replace

from contract import keys
from contract.errors import BadInput, UsageError
from contract.job_ids import job_id
from contract.piece import Bounds, Piece
from contract.settings import Settings
from orchestrator.comparison.preview import pick
from orchestrator.jobs.job_record import Trail
from orchestrator.provenance.decode import decode_film
from orchestrator.provenance.verify import embedded
from orchestrator.result_record import from_lines
from orchestrator.sandbox.parent import Confined
from orchestrator.submission.submit import draft
from testkit.clips import fingerprint, make_film
from testkit.stepped import SPEC, Stepped

PIECE = replace(SPEC, piece=Bounds("0.2", "frame:15"))


def test_provenance_names_the_piece(cluster: Stepped, tmp_path: Path) -> None:
    """Record, tag, bag and PREMIS name the frames, the result holds them alone, and it is verified against its source."""
    film = make_film(tmp_path / "film.mp4", 20, seed=81)
    job = cluster.submit([film], PIECE)
    assert job != job_id(replace(PIECE, piece=None), cluster.records.job(job).items)
    assert cluster.finish(job).state == "done"
    (record,) = from_lines(cluster.storage.get(keys.records(job)))
    assert record.piece == Piece(5, 10, 20, (1, 5), (3, 5))
    assert record.parameters["piece"] == {"start": "0.2", "end": "frame:15"}
    assert record.details["witness"]["frames"] == 10
    trail = Trail(cluster.settings)
    bag = trail.bag(job, tmp_path / "bag")
    result = bag / "data" / record.result.name
    assert "A piece of the source: frames 5 to 14 of 20." in (bag / "bag-info.txt").read_text().replace("\n ", " ")
    premis = ElementTree.parse(bag / "premis.xml")
    assert any("frames 5 to 14 of 20" in (element.text or "") for element in premis.iter())
    made = embedded(result)
    assert made is not None
    assert made.piece == record.piece
    assert [crc for _, crc in fingerprint(result)] == [crc for _, crc in fingerprint(film)][5:15]
    for known in (record, None):
        outcome = decode_film(result, made, known, film, Confined(cluster.settings, ahead=False).plan)
        assert outcome.faults == []
        assert any("against the source" in words for words in outcome.checked)
    assert b"film.mp4 at 0.40 s" in trail.report(job, 1)


def test_the_whole_film_has_no_piece_in_its_tag(cluster: Stepped, tmp_path: Path) -> None:
    """Tags of whole films stay readable by older versions, which know no pieces."""
    job = cluster.submit([make_film(tmp_path / "film.mp4", 10, seed=82)])
    cluster.finish(job)
    (record,) = from_lines(cluster.storage.get(keys.records(job)))
    Trail(cluster.settings).fetch_result(record, tmp_path / "out.mkv")
    assert b'"piece"' not in (tmp_path / "out.mkv").read_bytes()
    assert record.piece is None


def test_images_are_refused_by_name(settings: Settings, tmp_path: Path) -> None:
    """An image that is named fails at once; one in a folder fails alone."""
    (tmp_path / "in").mkdir()
    pyvips.Image.black(40, 30, bands=3).write_to_file(str(tmp_path / "in" / "a.png"))
    make_film(tmp_path / "in" / "b.mp4", 20)
    with pytest.raises(BadInput, match=r"a\.png is an image, and --from 0\.2 --to frame:15 asks for a piece of a film"):
        draft([tmp_path / "in" / "a.png"], PIECE, settings)
    alone = tmp_path / "alone"
    alone.mkdir()
    pyvips.Image.black(40, 30, bands=3).write_to_file(str(alone / "a.png"))
    with pytest.raises(UsageError, match="asks for a piece of a film, and all sources are images"):
        draft([alone], PIECE, settings)
    checked = draft([tmp_path / "in"], PIECE, settings)
    assert any(note.startswith("a.png will fail: a.png is an image") for note in checked.notes)
    assert [film.index.frames for film in checked.films] == [10]
    assert "b.mp4: frames 5 to 14 of 20, 10 frames of 96x64" in checked.outlook()[0]
    with pytest.raises(BadInput, match="is an image"):
        pick(tmp_path / "in" / "a.png", 2, tmp_path, PIECE.piece)


def test_a_preview_shows_frames_of_the_piece(tmp_path: Path) -> None:
    """Its frames are those between the bounds."""
    film = make_film(tmp_path / "film.mp4", 50, seed=83)
    picked = pick(film, 2, tmp_path, Bounds("frame:20", "frame:22"))
    assert [path.name for path in picked] == ["film-00.png", "film-01.png"]
    with av.open(str(film)) as container:
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    shown = [pyvips.Image.new_from_file(str(path)).numpy() for path in picked]
    assert all(map(np.array_equal, shown, decoded[20:22]))
