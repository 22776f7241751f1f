"""Frames between the process that parses media and its parent: a question about an object, and the answer.

A frame is four bytes (the length of a JSON document), the document, and as many raw bytes as its `data` says. A question
may carry an open file.
"""

from __future__ import annotations

import os
import socket
from typing import Literal, TypeVar

import msgspec
from msgspec import Struct

from contract.job import Natural
from stores.object_store import Condition, Entry

MAX_DATA = 256 << 20
"""Largest object in bytes that is passed in a frame; runs have 48 MiB at most, larger results are passed as open files."""

PAGE = 10_000
"""Keys of one answer to `list`: about 1.5 MB."""

_MAX_HEAD = 8 << 20

Op = Literal["tagged", "range", "stat", "list", "put", "put_file", "get_file", "verify", "copy", "delete"]


class Question(Struct, frozen=True, forbid_unknown_fields=True):
    """An operation of `stores.object_store.ObjectStore`; `other` is its second text: a target, a hash, the last key."""

    op: Op
    key: str
    other: str = ""
    start: Natural = 0
    stop: Natural = 0
    condition: Condition | None = None
    data: Natural = 0


class Answer(Struct, frozen=True, forbid_unknown_fields=True):
    """The result of an operation, or the error that it raised: its class and message, or the `errno` of a local disk."""

    error: str = ""
    message: str = ""
    errno: int = 0
    found: bool = True
    tag: str = ""
    sha256: str = ""
    size: Natural = 0
    entries: tuple[Entry, ...] = ()
    data: Natural = 0


class Closed(Exception):
    """Raised when the other side has closed its end."""


Frame = TypeVar("Frame", Question, Answer)


def send(channel: socket.socket, frame: Question | Answer, data: bytes = b"", file: int | None = None) -> None:
    """Send a frame with the bytes that its `data` counts, and an open file; raise Closed."""
    head = msgspec.json.encode(frame)
    first = len(head).to_bytes(4, "big") + head
    try:
        sent = 0 if file is None else socket.send_fds(channel, [first], [file])
        channel.sendall(memoryview(first)[sent:])
        if data:
            channel.sendall(data)
    except OSError as error:
        raise Closed from error


def receive(channel: socket.socket, kind: type[Frame]) -> tuple[Frame, int | None]:
    """Receive a frame without its data, and the open file that came with it; raise Closed, ValueError for what is no frame."""
    file: int | None = None
    try:
        first, files, _, _ = socket.recv_fds(channel, 4, 1)
        for extra in files[1:]:
            os.close(extra)
        file = files[0] if files else None
        if not first:
            raise Closed
        size = int.from_bytes(first + receive_data(channel, 4 - len(first)), "big")
        if size > _MAX_HEAD:
            raise ValueError(f"a frame of {size} bytes")
        frame = msgspec.json.decode(receive_data(channel, size), type=kind)
        if frame.data > MAX_DATA:
            raise ValueError(f"a frame with {frame.data} bytes of data")
    except BaseException as error:
        if file is not None:
            os.close(file)
        if isinstance(error, OSError):
            raise Closed from error
        raise
    return frame, file


def receive_data(channel: socket.socket, size: int) -> bytes:
    """Receive `size` bytes; raise Closed when the other side ends before."""
    data = bytearray(size)
    view = memoryview(data)
    while view:
        try:
            count = channel.recv_into(view)
        except OSError as error:
            raise Closed from error
        if not count:
            raise Closed
        view = view[count:]
    return bytes(data)
