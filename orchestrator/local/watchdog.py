"""The process that ends a cluster whose supervisor was killed: reads process groups from a pipe and kills them at its end.

Run as a script by the supervisor, with the standard library's `signal` and `os` alone, so that it starts in
a few milliseconds. Lines on stdin: ``+PID`` a group to end, ``-PID`` one that is gone, ``=PATH`` a temporary
folder to remove at the end. The pipe ends with the supervisor, in whatever way that ends.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from contextlib import suppress


def main() -> None:
    """Read process groups until the pipe ends, then kill them and remove the folders."""
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    groups: dict[int, None] = {}
    folders: list[str] = []
    for line in sys.stdin:
        sign, value = line[0], line[1:].strip()
        if sign == "+":
            groups[int(value)] = None
        elif sign == "-":
            groups.pop(int(value), None)
        else:
            folders.append(value)
    for group in groups:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
