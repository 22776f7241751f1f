"""A corpus of what strangers may send: names of files, links, manifests and messages, 200 of them, drawn by a seed."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import NamedTuple

NAMES, LINKS, MANIFESTS, MESSAGES = 70, 40, 55, 35
"""Entries of each kind: 200 in all."""

_PIECES = (
    b"\x1b[2J", b"\x1b]0;owned\x07", b"\x1b]8;;http://evil.example\x1b\\", b"\x1bc", b"\x9b31m", b"\xc2\x9b2J", b"\x7f", b"\x08\x08",
    b"\r", b"\n", b"\n2026-01-01T00:00:00Z INFO all is well", b"\t", b"\x0b", b"\x0c", b"\x0e", b"\x01",
    "\u202e".encode(), "\u2066".encode(), "\u200f".encode(), "\u2028".encode(), "\u2029".encode(), "\u061c".encode(),
    b"\xff\xfe", b"\xed\xa0\x80", b"\xc0\xae\xc0\xae", b"..", b"...", b" ", b"\\", b"..\\..\\etc", b"C:", b"%2e%2e%2f", b"%s%n",
    b"$(id)", b"`id`", b"; rm -rf ~", b"| cat", b"'\"", b"--output", b"-rf", b"=HYPERLINK(1)", b"@SUM(A1)", b"+1", b"~root", b"*", b"?",
    b"<script>alert(1)</script>", b"{{7*7}}", b"{0.__class__}", b"e\xcc\x81", "\u00e9".encode(), b"CON", b"aux", b"[red]", b"&amp;",
)  # fmt: skip

_UNSAFE = (
    "../escaped", "../../escaped", "a/../../escaped", "/tmp/respool-escaped", "//escaped", "./../escaped", "a/./b", "a//b", "", ".", "..",
    "..\\escaped", "a\\b", "a/..", "\x00", "a\x00b", "~/escaped/../..", "../out/escaped", "a\nb", "\x1b[2Jescaped", "x" * 901,
    "a/" * 400 + "../" * 401 + "escaped", "\u202e/../../escaped", "con/../../escaped",
)  # fmt: skip


class Link(NamedTuple):
    """A symbolic link in a folder: its name and what it points to."""

    name: str
    target: str


def names(seed: int) -> list[bytes]:
    """Return file names, each unlike all others, that end in .png and that Linux takes."""
    rng = random.Random(seed)
    found: dict[bytes, None] = {}
    while len(found) < NAMES:
        parts = [*(_PIECES[len(found) % len(_PIECES)],), *rng.sample(_PIECES, rng.randrange(3))]
        rng.shuffle(parts)
        name = b"".join(parts).replace(b"/", b"_").strip(b".") + str(len(found)).encode() + b".png"
        if not name.startswith(b".") and len(name) < 200:
            found[name] = None
    return list(found)


def links(seed: int, secret: Path) -> list[Link]:
    """Return links that lead out of any folder, to `secret` or to files of the system, under names of all kinds of files."""
    rng = random.Random(seed + 1)
    suffixes = (".png", ".mp4", ".xmp", ".png.md5", ".sha256", ".txt", ".tif", "")
    up = "/".join([".."] * 30)
    targets = (
        str(secret), f"{up}{secret}", f"./{up}{secret}", f"{secret.parent}/./{secret.name}", str(secret.parent), "/proc/self/environ",
        "/proc/self/mem", "/dev/zero", "/dev/stdin", "/etc/passwd", f"{secret.parent}/missing/{up}{secret}", "nowhere", "/dev/tty",
    )  # fmt: skip
    return [
        Link(f"link-{n}{suffixes[n % len(suffixes)]}", rng.choice(targets) if n else str(secret)) for n in range(LINKS)
    ]


def manifests(seed: int, job: str, key: str, sha256: str) -> list[bytes]:
    """Return manifests of `job` whose one file, stored as `key`, has an unsafe name, or that are no manifests."""
    rng = random.Random(seed + 2)
    file = {"item": 0, "name": "a.png", "key": key, "sha256": sha256, "size": 1}
    whole: dict[str, object] = {"job": job, "state": "done", "files": [file], "version": 2}
    found = [json.dumps({**whole, "files": [{**file, "name": name}]}) for name in _UNSAFE]
    found += [json.dumps({**whole, "sidecars": [{**file, "name": name}]}) for name in _UNSAFE[:12]]
    found += [
        "", "null", "[]", "{", "[" * 50_000, "\x00", '"\\ud800"',
        json.dumps({**whole, "state": "perfect"}), json.dumps({**whole, "job": "../other"}),
        json.dumps({**whole, "files": [{**file, "size": -1}]}), json.dumps({**whole, "files": [{**file, "item": 1.5}]}),
        json.dumps({**whole, "files": "a.png"}), json.dumps({**whole, "version": 99}), json.dumps({**whole, "command": "rm -rf /"}),
    ]  # fmt: skip
    while len(found) < MANIFESTS:
        name = "/".join(rng.choice(["..", "a", "\\", "\x1b[31m", "\r"]) for _ in range(4)) + "/../../../escaped"
        found.append(json.dumps({**whole, "files": [{**file, "name": name}]}))
    return [text.encode() for text in found[:MANIFESTS]]


def messages(seed: int) -> list[bytes]:
    """Return bodies of messages to a worker: forged, malformed, and with text that commands a terminal."""
    rng = random.Random(seed + 3)
    good = {"job": "f" * 16, "chunk": 0, "version": 1}
    odd: list[object] = [
        {**good, "job": "../../../etc/passwd"}, {**good, "job": "\x1b[2J" * 4}, {**good, "chunk": -1}, {**good, "chunk": 10**30},
        {**good, "chunk": "0"}, {**good, "chunk": 1.5}, {**good, "version": 10**9}, {**good, "endpoint": "http://evil.example"},
        ["rm", "-rf"], None, True, "\u202e", "\x9b31m", 10**300, [[[[]]]], {}, {**good, "job": None}, {**good, "job": "F" * 16},
    ]  # fmt: skip
    bodies = [json.dumps([[message], {}, {}]).encode() for message in odd]
    bodies += [b"", b"{", b"\xff", b"[" * 10_000, b"null", b'[[{"job": 1}]]', b"\x1b[2J\n\x1b[31m", b"[[],{},{}]"]
    while len(bodies) < MESSAGES:
        text = b"".join(rng.sample(_PIECES, 4)).decode("utf-8", "replace")
        bodies.append(json.dumps([[{**good, "job": text}], {text: text}, {}]).encode())
    return bodies[:MESSAGES]
