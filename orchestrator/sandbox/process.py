"""One process that parses media, from its parent's side: its folder, its pipes, and what it may ask of the store."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

from contract.errors import PermanentError
from contract.programs import Program, command_line
from contract.settings import Settings
from orchestrator.sandbox.environment import environment
from stores.lending.broker import Broker
from stores.lending.rights import Rights
from stores.scratch import OwnFolder
from stores.storage import Storage


class MediaProcess:
    """A process of `program` that waits for one order on its stdin. `end` it always."""

    def __init__(self, settings: Settings, program: Program = Program.SANDBOX) -> None:
        parent = settings.scratch if settings.scratch != Path() else None
        try:
            self._folder = OwnFolder(parent)
        except OSError as error:
            where = parent or "the temporary folder"
            raise PermanentError(
                f"no folder for the process that reads media can be made in {where} ({error.strerror}); free some of it, or "
                "name another with RESPOOL_SCRATCH."
            ) from error
        reader, writer = os.pipe()
        self.control, other = socket.socketpair()
        self._broker: Broker | None = None
        try:
            self.process = subprocess.Popen(
                command_line(program, writer, other.fileno()),
                stdin=subprocess.PIPE,
                env=environment(settings, self._folder.path),
                cwd=self._folder.path,
                pass_fds=[writer, other.fileno()],
            )
        except BaseException:
            os.close(reader)
            self.control.close()
            self._folder.remove()
            raise
        finally:
            os.close(writer)
            other.close()
        self.answers = open(reader, "rb", buffering=0)  # noqa: PTH123, SIM115 - a pipe; `end` closes it

    def lend_film(self, path: Path) -> None:
        """Pass an open film, which the process could not open itself; raise OSError for a file that cannot be opened."""
        with path.open("rb") as film:
            socket.send_fds(self.control, [b"f"], [film.fileno()])

    def lend_store(self, store: Storage, rights: Rights, guard: Callable[[], None]) -> None:
        """Answer its questions about objects within `rights`, from now until its end; `guard` as of `Broker`."""
        self._broker = Broker(self.control, store, rights, guard)

    def order(self, order: bytes) -> None:
        """Give it its order; raise OSError when it has ended."""
        assert self.process.stdin is not None
        self.process.stdin.write(order + b"\n")
        self.process.stdin.flush()

    def end(self) -> None:
        """Kill the process and remove its folder."""
        self.process.kill()
        self.process.wait()
        if self._broker is None:
            self.control.close()
        else:
            self._broker.close()
        self.answers.close()
        if self.process.stdin:
            self.process.stdin.close()
        self._folder.remove()
