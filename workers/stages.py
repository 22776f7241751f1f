"""Work in two parts, as a generator: it yields once where another thread may do the rest."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")


def finished(stages: Generator[None, None, T]) -> T:
    """Do what is left of `stages` in this thread and return its result; pass its errors on."""
    while True:
        try:
            next(stages)
        except StopIteration as ended:
            result: T = ended.value
            return result
