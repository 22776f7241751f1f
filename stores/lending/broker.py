"""The parent's side of the store: it answers the process that parses media, and only what the act's rights allow."""

from __future__ import annotations

import fcntl
import itertools
import logging
import os
import socket
import stat
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from contract.errors import PermanentError, RespoolError, UsageError
from stores.lending.rights import Rights
from stores.lending.wire import MAX_DATA, PAGE, Answer, Closed, Question, receive, receive_data, send
from stores.storage import Storage

logger = logging.getLogger(__name__)

_CHANNELS = 40
"""Channels of one process; sixteen threads of it work at a time."""

_LARGE = 1 << 20
_LARGE_AT_ONCE = 4
"""Objects over a megabyte that are in memory at a time for one process: at most 1 GiB, whatever it asks for."""

_Answered = tuple[Answer, bytes]


class Refused(PermanentError):
    """Raised when a process asks for what its act does not need."""


class Broker:
    """Answers for one process, until it closes its ends or `close` is called."""

    def __init__(
        self, control: socket.socket, store: Storage, rights: Rights, guard: Callable[[], None] = lambda: None
    ) -> None:
        """`guard` is called right before each change, from several threads, and raises when the act may not change any more."""
        self._control, self._store, self._rights, self._guard = control, store, rights, guard
        self._large = threading.BoundedSemaphore(_LARGE_AT_ONCE)
        self._lock = threading.Lock()
        self._channels: list[socket.socket] = []
        threading.Thread(target=self._accept, name="store-broker", daemon=True).start()

    def close(self) -> None:
        """Close all ends; operations that have begun run to their end, and their answers are dropped."""
        for end in (self._control, *self._channels):
            with suppress(OSError):  # not connected any more
                end.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        """Take each channel that the process opens."""
        with self._control:
            while True:
                try:
                    said, files, _, _ = socket.recv_fds(self._control, 1, 1)
                except OSError:
                    return
                for file in files:
                    if len(self._channels) >= _CHANNELS or not stat.S_ISSOCK(os.fstat(file).st_mode):
                        os.close(file)
                        continue
                    channel = socket.socket(fileno=file)
                    self._channels.append(channel)
                    threading.Thread(target=self._serve, args=(channel,), name="store-channel", daemon=True).start()
                if not said:
                    return

    def _serve(self, channel: socket.socket) -> None:
        """Answer one channel until it is closed; what is no question ends it."""
        with channel:
            try:
                while True:
                    question, file = receive(channel, Question)
                    try:
                        answer, data = self._answer(channel, question, file)
                    finally:
                        if file is not None:
                            os.close(file)
                    send(channel, answer, data)
            except Closed:
                return
            except ValueError as error:
                self._report(f"it sent {error}")

    def _report(self, what: str) -> None:
        logger.error(
            "the process that parses media was refused: %s; a source may have taken it over",
            what,
            extra={"job": self._rights.job},
        )

    def _answer(self, channel: socket.socket, question: Question, file: int | None) -> _Answered:
        if question.data > _LARGE:
            with self._large:
                return self._tried(question, receive_data(channel, question.data), file)
        return self._tried(question, receive_data(channel, question.data), file)

    def _tried(self, question: Question, data: bytes, file: int | None) -> _Answered:
        try:
            return self._do(question, data, file)
        except Refused as error:
            self._report(str(error))
            return Answer(error="PermanentError", message=f"{error}; see SECURITY.md."), b""
        except RespoolError as error:
            return Answer(error=type(error).__name__, message=str(error)), b""
        except OSError as error:
            return Answer(errno=error.errno or 5, message="the scratch space"), b""

    def _do(self, question: Question, data: bytes, file: int | None) -> _Answered:
        key, rights, store = question.key, self._rights, self._store
        match question.op:
            case "put":
                self._check(rights.writes(key, data, question.condition), question)
                self._guard()
                return Answer(found=store.write(key, data, question.condition)), b""
            case "put_file":
                self._check(rights.stores_file(key), question)
                return Answer(sha256=store.put_file(key, _readable(file), ready=self._guard)), b""
            case "copy":
                self._check(rights.copies(key, question.other), question)
                self._guard()
                store.copy(key, question.other, question.stop)
            case "delete":
                self._check(rights.removes(key), question)
                self._guard()
                store.delete(key)
            case _:
                self._check(rights.reads(key), question)
                return self._read(question, file)
        return Answer(), b""

    def _read(self, question: Question, file: int | None) -> _Answered:
        key, store = question.key, self._store
        match question.op:
            case "tagged":
                return self._tagged(key, min(question.stop, MAX_DATA))
            case "range":
                if question.stop - question.start > MAX_DATA or question.stop <= question.start:
                    raise Refused(f"it asked for bytes {question.start} to {question.stop} of {key[:200]}")
                data = store.read_range(key, question.start, question.stop)
                return Answer(data=len(data)), data
            case "stat":
                found = store.stat(key)
                return (Answer(size=found[0], sha256=found[1]) if found else Answer(found=False)), b""
            case "list":
                entries = itertools.islice(store.entries(key, question.other), PAGE)
                return Answer(entries=tuple(entries)), b""
            case "get_file":
                sha256, recorded = store.fetch_file(key, _writable(file))
                return Answer(sha256=sha256, tag=recorded), b""
            case _:
                store.verify(key, question.other)
                return Answer(), b""

    def _tagged(self, key: str, limit: int) -> _Answered:
        """Read a document; few large ones are in memory at a time."""
        try:
            found = self._store.tagged(key, min(limit, _LARGE))
        except UsageError:
            with self._large:
                found = self._store.tagged(key, limit)
        if found is None:
            return Answer(found=False), b""
        return Answer(tag=found[1], data=len(found[0])), found[0]

    def _check(self, allowed: bool, question: Question) -> None:
        if not allowed:
            raise Refused(f"it asked to {question.op} {question.key[:200]!r}, which {self._rights.act} does not need")


def _readable(file: int | None) -> Path:
    """Return a path to an open file; raise Refused unless the process that sent it may read it."""
    try:
        # Fails for a file opened for writing only, or by name only (O_PATH), which proves no right to read it.
        os.pread(_regular(file), 1, 0)
    except OSError as error:
        raise Refused("it sent a file that it may not read") from error
    return _path(_regular(file))


def _writable(file: int | None) -> Path:
    """Return a path to an open file; raise Refused unless the process that sent it may write it."""
    try:
        os.pwrite(_regular(file), b"", 0)
    except OSError as error:
        raise Refused("it sent a file that it may not write") from error
    return _path(_regular(file))


def _regular(file: int | None) -> int:
    if file is None or not stat.S_ISREG(os.fstat(file).st_mode):
        raise Refused("it sent no regular file")
    return file


def _path(file: int) -> Path:
    """Return a path by which this process opens the same file again."""
    if sys.platform == "darwin":
        return Path(os.fsdecode(fcntl.fcntl(file, fcntl.F_GETPATH, bytes(1024)).split(b"\0")[0]))
    return Path(f"/proc/self/fd/{file}")
