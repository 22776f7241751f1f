"""A soft time limit during imports comes when they are done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from workers.runtime import imports


class LimitReached(Exception):
    """Raised by the handler, as Celery's raises SoftTimeLimitExceeded."""


@pytest.fixture
def limited() -> Iterator[object]:
    """A handler as Celery installs it in its pool process."""

    def reached(*_: object) -> None:
        raise LimitReached

    before = signal.signal(signal.SIGUSR1, reached)
    yield reached
    signal.signal(signal.SIGUSR1, before)


def test_a_limit_is_put_off_to_the_end_of_the_imports(limited: object) -> None:
    """The work inside is done whole; then the limit takes effect, and the handler is the one from before."""
    done = []
    whole = imports.whole()
    whole.__enter__()
    signal.raise_signal(signal.SIGUSR1)
    done.append("imported")
    with pytest.raises(LimitReached):
        whole.__exit__(None, None, None)
    assert done == ["imported"]
    assert signal.getsignal(signal.SIGUSR1) is limited


def test_without_a_limit_nothing_is_raised(limited: object) -> None:
    """The handler comes back also where an import fails."""
    with pytest.raises(ImportError), imports.whole():
        raise ImportError
    assert signal.getsignal(signal.SIGUSR1) is limited


def test_other_threads_leave_the_handler_alone(limited: object) -> None:
    """Python lets only the main thread change handlers, and gives only it the exception."""
    seen = []

    def work() -> None:
        with imports.whole():
            seen.append(signal.getsignal(signal.SIGUSR1))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [limited]
