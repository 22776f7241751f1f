"""Imports that no time limit interrupts."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def whole() -> Iterator[None]:
    """Put off Celery's soft time limit (SIGUSR1) until the imports inside are done.

    Its exception would leave a package half imported, as numpy without `matrix`: then every later chunk fails in this process. Only
    the main thread gets the exception, so in other threads there is nothing to put off.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)
        if came:
            signal.raise_signal(signal.SIGUSR1)
