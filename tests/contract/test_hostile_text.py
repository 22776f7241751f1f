"""Names and text from strangers: no document holds an unsafe path, no output a raw control character."""

from __future__ import annotations

import json
import logging
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.documents import decode
from contract.errors import UsageError
from contract.job import Manifest
from contract.keys import check_name
from contract.logging import configure
from contract.printable import printable
from contract.settings import Settings

PARTS = st.lists(
    st.sampled_from(["..", ".", "", "...", "a", "..b", "\\", "ä", "\n", "\x00", "\x1b[2J", " ", "a.png"]), max_size=5
)
TEXT = st.text(st.characters(), max_size=40)


def _manifest(name: str) -> bytes:
    file = {"item": 0, "name": name, "key": "k", "sha256": "0" * 64, "size": 1}
    return json.dumps({"job": "0" * 16, "state": "done", "files": [file]}).encode()


@given(PARTS.map("/".join) | TEXT.filter(lambda text: not any("\ud800" <= c <= "\udfff" for c in text)))
def test_a_manifest_names_files_below_the_output_folder_alone(name: str) -> None:
    """A manifest is read exactly when each of its names is a safe relative path: nothing can be fetched to elsewhere."""
    try:
        safe = check_name(name) == name
    except UsageError:
        safe = len(name.encode()) > 900
    try:
        decode(_manifest(name), Manifest, "the manifest")
    except UsageError:
        assert not safe
    else:
        assert safe


@given(TEXT)
def test_printable_text_has_no_control_characters(text: str) -> None:
    """Nothing that moves a cursor, ends a line or turns the direction of writing is left, and plain text is unchanged."""
    shown = printable(text)
    assert all(c in "\t\n" or unicodedata.category(c) not in ("Cc", "Cs", "Zl", "Zp") for c in shown)
    assert not any(
        unicodedata.bidirectional(c) in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI") for c in shown
    )
    assert printable(shown) == shown


def test_escapes_of_printable_text_are_escapes_of_json() -> None:
    """A JSON document means the same after it was made printable."""
    value = {"name": "evil\u202egnp.exe\x9b2J\x7f"}
    assert json.loads(printable(json.dumps(value, ensure_ascii=False))) == value


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_logged_name_cannot_forge_lines(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A message with newlines and escape sequences is one line of the log, without control characters."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    try:
        configure(Settings(log_format=form))
        logging.getLogger("test").warning(
            "cannot read %s", "a\n2026-01-01 INFO all is well\x1b[31m\u202e", extra={"job": "j\x1b"}
        )
    finally:
        root.handlers[:], root.level = before, level
    logged = capsys.readouterr().err
    assert logged.count("\n") == 1
    assert not any(unicodedata.category(c) == "Cc" for c in logged.rstrip("\n"))
    assert "\u202e" not in logged
