"""The store as the process that parses media sees it: every operation is a question to the parent, which has the keys."""

from __future__ import annotations

import os
import queue
import socket
from collections.abc import Iterator
from pathlib import Path

from contract import errors
from contract.errors import Interrupted, RespoolError, UsageError
from stores.lending.wire import MAX_DATA, PAGE, Answer, Closed, Question, receive, receive_data, send
from stores.object_store import Condition, Entry, ObjectStore

_ALONE = "The process that holds the store's keys has ended; this one ends with it."


class BorrowedStore(ObjectStore):
    """The bucket, through the parent at the other end of `control`; one channel for each thread that waits for an answer."""

    def __init__(self, control: socket.socket, bucket: str) -> None:
        self.bucket = bucket
        self._control = control
        self._idle: queue.SimpleQueue[socket.socket] = queue.SimpleQueue()

    def _ask(self, question: Question, data: bytes = b"", file: int | None = None) -> tuple[Answer, bytes]:
        """Return the parent's answer and its bytes; raise the error that it reports."""
        channel = self._channel()
        try:
            send(channel, question, data, file)
            answer, _ = receive(channel, Answer)
            body = receive_data(channel, answer.data)
        except Closed as error:
            channel.close()
            raise Interrupted(_ALONE) from error
        self._idle.put(channel)
        if answer.errno:
            raise OSError(answer.errno, os.strerror(answer.errno), answer.message)
        if answer.error:
            kind = getattr(errors, answer.error, None)
            raise (kind if isinstance(kind, type) and issubclass(kind, RespoolError) else RespoolError)(answer.message)
        return answer, body

    def _channel(self) -> socket.socket:
        try:
            return self._idle.get_nowait()
        except queue.Empty:
            own, other = socket.socketpair()
        with other:
            try:
                socket.send_fds(self._control, [b"c"], [other.fileno()])
            except OSError as error:
                own.close()
                raise Interrupted(_ALONE) from error
        return own

    def close(self) -> None:
        """Close the channels; nobody may wait for an answer."""
        while not self._idle.empty():
            self._idle.get_nowait().close()

    def tagged(self, key: str, limit: int | None = None) -> tuple[bytes, str] | None:
        """Read an object with its ETag; None without one, UsageError for more than `limit` bytes."""
        most = MAX_DATA if limit is None else min(limit, MAX_DATA)
        answer, data = self._ask(Question("tagged", key, stop=most))
        return (data, answer.tag) if answer.found else None

    def fetch_file(self, key: str, path: Path) -> tuple[str, str]:
        """Have the parent write an object into `path`; return its SHA-256, found and recorded."""
        with path.open("wb", buffering=0) as out:
            answer, _ = self._ask(Question("get_file", key), file=out.fileno())
        return answer.sha256, answer.tag

    def verify(self, key: str, sha256: str) -> None:
        """Have the parent read an object back; raise IntegrityError for other bytes."""
        self._ask(Question("verify", key, sha256))

    def write(self, key: str, data: bytes, condition: Condition | None) -> bool:
        """Write an object; return False when `condition` does not hold."""
        if len(data) > MAX_DATA:
            raise UsageError(f"object {key} would have {len(data)} bytes; {MAX_DATA} is the most.")
        return self._ask(Question("put", key, condition=condition, data=len(data)), data)[0].found

    def put_file(self, key: str, path: Path, sha256: str | None = None) -> str:
        """Have the parent upload a file; return its SHA-256, which the parent computes."""
        with path.open("rb") as body:
            found = self._ask(Question("put_file", key), file=body.fileno())[0].sha256
        if sha256 is not None and found != sha256:
            raise UsageError(f"{path.name} has SHA-256 {found}, not {sha256}; it was changed while it was uploaded.")
        return found

    def copy(self, source: str, target: str, size: int) -> None:
        """Copy `size` bytes within the bucket."""
        self._ask(Question("copy", source, target, stop=size))

    def stat(self, key: str) -> tuple[int, str] | tuple[()]:
        """Return (bytes, recorded SHA-256) of an object, or () when it is absent."""
        answer, _ = self._ask(Question("stat", key))
        return (answer.size, answer.sha256) if answer.found else ()

    def entries(self, prefix: str, after: str = "") -> Iterator[Entry]:
        """Yield every object below `prefix` whose key is greater than `after`, in key order."""
        while True:
            entries = self._ask(Question("list", prefix, after))[0].entries
            yield from entries
            if len(entries) < PAGE:
                return
            after = entries[-1].key

    def folders(self, prefix: str) -> Iterator[str]:
        """Raise UsageError: this process knows one job only."""
        raise UsageError(f"the process that parses media cannot list {prefix}; it sees the objects of its own job.")

    def delete(self, key: str) -> None:
        """Remove an object; an absent one is no error."""
        self._ask(Question("delete", key))

    def read_range(self, key: str, start: int, stop: int) -> bytes:
        """Read bytes `start` .. `stop` - 1 of an object."""
        return self._ask(Question("range", key, start=start, stop=stop))[1]
