"""Submitters: names that are safe to print, and job ids that do not depend on the submitter."""

from __future__ import annotations

import getpass
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.documents import decode, encode
from contract.errors import Newer, UsageError
from contract.job import Job, Spec
from contract.printable import printable
from contract.settings import load
from contract.submitter import check_submitter, user_name

_OLD = Path(__file__).parents[1] / "fixtures" / "before_rooms" / "objects" / "jobs"
JOB = Job("ab" * 8, Spec("identity"), (), "2026-01-01T00:00:00+00:00", submitter="Ana López")


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=70))
def test_a_document_holds_the_names_that_a_setting_takes(name: str) -> None:
    """Names that are printed as they are, of 1 to 64 characters without blanks around them, and nothing else; a document may also have none."""
    try:
        known = check_submitter(name) == name
    except UsageError:
        known = False
    if known:
        assert printable(name) == name == name.strip()
        assert 1 <= len(name) <= 64
        assert not set(name) & {"\t", "\n"}
    document = json.dumps(json.loads(encode(JOB)) | {"submitter": name}).encode()
    try:
        assert decode(document, Job, "job.json").submitter == name
        assert known or not name
    except UsageError:
        assert not known


def test_older_jobs_have_no_submitter() -> None:
    """A job.json of a version before reads as before; a process of that version leaves one with a submitter to newer ones."""
    for path in _OLD.glob("*/job.json"):
        assert decode(path.read_bytes(), Job, "job.json").submitter == ""
    with pytest.raises(Newer, match="finish the upgrade"):
        decode(encode(JOB).replace(b'"submitter"', b'"of_a_later_version"'), Job, "job.json")


def test_a_wrong_name_or_quota_is_refused() -> None:
    """The sentence names the setting and the value."""
    for name in ("a\x1b[2J", " ana", "ana ", "a" * 65, "a\nb", "\u202eana"):
        with pytest.raises(UsageError, match=r"submitter is .*which is not a name"):
            load({"RESPOOL_SUBMITTER": name})
    for name in ("SUBMITTER_CHUNKS", "SUBMITTER_BYTES"):
        with pytest.raises(UsageError, match=f"{name.lower()} is -1; give a number above 0"):
            load({f"RESPOOL_{name}": "-1"})


def test_a_user_without_a_usable_name_has_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container the user is often in no list of users."""

    def unknown() -> str:
        raise KeyError("getpwuid(): uid not found: 12345")

    assert check_submitter(user_name())
    for wrong in (unknown, lambda: "a\tb", lambda: ""):
        monkeypatch.setattr(getpass, "getuser", wrong)
        assert check_submitter(user_name()).startswith("user-")
