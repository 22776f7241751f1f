"""The filter before Celery: only Respool's messages pass, and senders control nothing else in them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from contract.tasks import ENHANCE
from workers.runtime.message_filter import MAX_BODY, cleaned, refusal

CHUNK = {"job": "0" * 16, "chunk": 3, "version": 1}
HEADERS: dict[str, Any] = {"task": ENHANCE, "id": "a", "argsrepr": "film.mp4 chunk 3"}
OURS = json.dumps([[CHUNK], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}])
LINKED = json.dumps([[CHUNK], {}, {"callbacks": [{"task": ENHANCE, "args": [CHUNK]}]}])


@pytest.mark.parametrize(
    ("headers", "content_type", "body", "why"),
    [
        ([], "application/json", OURS, "names no task"),
        ({**HEADERS, "task": "celery.map"}, "application/json", OURS, "names no task"),
        ({**HEADERS, "task": {"a": 1}}, "application/json", OURS, "names no task"),
        ({**HEADERS, "id": ["a"]}, "application/json", OURS, "no id"),
        (HEADERS, "application/x-python-serialize", OURS, "not JSON"),
        (HEADERS, "application/json", {"a": 1}, "not JSON"),
        (HEADERS, "application/json", "x" * (MAX_BODY + 1), "65537 bytes"),
        (HEADERS, "application/json", "{not", "not valid JSON"),
        (HEADERS, "application/json", "[" * 50_000, "not valid JSON"),
        (HEADERS, "application/json", b"\xff\xfe\xfd", "not valid JSON"),
        (HEADERS, "application/json", "[]", "not name exactly one chunk"),
        (HEADERS, "application/json", json.dumps([[CHUNK, CHUNK], {}, {}]), "not name exactly one chunk"),
        (HEADERS, "application/json", json.dumps([[CHUNK], {"a": 1}, {}]), "more than the work on one"),
        (HEADERS, "application/json", LINKED, "more than the work on one"),
    ],
)
def test_other_messages_are_refused(headers: object, content_type: str, body: object, why: str) -> None:
    """Every other message is refused with a short reason before Celery reads it."""
    assert why in refusal(headers, content_type, body)


def test_a_message_of_the_orchestrator_passes() -> None:
    """A message of the orchestrator passes, as text or as bytes."""
    assert refusal(HEADERS, "application/json", OURS) == ""
    assert refusal(HEADERS, "application/json", OURS.encode()) == ""


def test_a_sender_controls_only_id_chunk_and_label() -> None:
    """Time limits and all other headers of a sender do not reach Celery, which would trust them."""
    forged = {
        **HEADERS,
        "timelimit": ["a", "b"],
        "eta": "2999-01-01T00:00:00",
        "expires": "zzz",
        "retries": "many",
        "x": 1,
    }
    headers, body = cleaned(forged, OURS)
    assert (headers["timelimit"], headers["eta"], headers["expires"], headers["retries"]) == (
        [None, None],
        None,
        None,
        0,
    )
    assert headers.keys() == cleaned(HEADERS, OURS)[0].keys()
    assert (headers["id"], headers["argsrepr"]) == ("a", "film.mp4 chunk 3")
    assert json.loads(body)[0] == [CHUNK]
    assert cleaned({**forged, "argsrepr": {"a": 1}}, OURS)[0]["argsrepr"] == ""
