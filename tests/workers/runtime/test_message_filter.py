"""What a worker lets through to Celery: messages of ours, with nothing in them that a sender could choose besides."""

from __future__ import annotations

import json
from typing import Any

import pytest

from contract.tasks import ENHANCE
from workers.runtime.message_filter import MAX_BODY, plain, refusal

RING = {"job": "0" * 16, "chunk": 3, "version": 1}
HEADERS: dict[str, Any] = {"task": ENHANCE, "id": "a", "argsrepr": "film.mp4 chunk 3"}
OURS = json.dumps([[RING], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}])
LINKED = json.dumps([[RING], {}, {"callbacks": [{"task": ENHANCE, "args": [RING]}]}])


@pytest.mark.parametrize(
    ("headers", "content_type", "body", "why"),
    [
        ([], "application/json", OURS, "names no task"),
        ({**HEADERS, "task": "celery.map"}, "application/json", OURS, "names no task"),
        ({**HEADERS, "task": {"a": 1}}, "application/json", OURS, "names no task"),
        ({**HEADERS, "id": ["a"]}, "application/json", OURS, "no id"),
        (HEADERS, "application/x-python-serialize", OURS, "no JSON"),
        (HEADERS, "application/json", {"a": 1}, "no JSON"),
        (HEADERS, "application/json", "x" * (MAX_BODY + 1), "65537 bytes"),
        (HEADERS, "application/json", "{not", "cannot be read"),
        (HEADERS, "application/json", "[" * 50_000, "cannot be read"),
        (HEADERS, "application/json", b"\xff\xfe\xfd", "cannot be read"),
        (HEADERS, "application/json", "[]", "not about one chunk"),
        (HEADERS, "application/json", json.dumps([[RING, RING], {}, {}]), "not about one chunk"),
        (HEADERS, "application/json", json.dumps([[RING], {"a": 1}, {}]), "more than one"),
        (HEADERS, "application/json", LINKED, "more than one"),
    ],
)
def test_what_is_not_ours_is_refused(headers: object, content_type: str, body: object, why: str) -> None:
    """Each in a few words, and before Celery looks at it."""
    assert why in refusal(headers, content_type, body)


def test_a_message_of_ours_passes() -> None:
    """As the orchestrator sends it, as text or as bytes."""
    assert refusal(HEADERS, "application/json", OURS) == ""
    assert refusal(HEADERS, "application/json", OURS.encode()) == ""


def test_only_id_ring_and_label_are_the_senders() -> None:
    """Limits, times, and whatever else was put into the headers do not reach Celery, which would believe them."""
    forged = {
        **HEADERS,
        "timelimit": ["a", "b"],
        "eta": "2999-01-01T00:00:00",
        "expires": "zzz",
        "retries": "many",
        "x": 1,
    }
    headers, body = plain(forged, OURS)
    assert (headers["timelimit"], headers["eta"], headers["expires"], headers["retries"]) == (
        [None, None],
        None,
        None,
        0,
    )
    assert headers.keys() == plain(HEADERS, OURS)[0].keys()
    assert (headers["id"], headers["argsrepr"]) == ("a", "film.mp4 chunk 3")
    assert json.loads(body)[0] == [RING]
    assert plain({**forged, "argsrepr": {"a": 1}}, OURS)[0]["argsrepr"] == ""
