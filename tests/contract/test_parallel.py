"""Many things at a time, their results in order."""

from __future__ import annotations

import threading

import pytest

from contract.parallel import in_order


def test_order_and_the_first_failure() -> None:
    """Results come in the order of the items; the first failure in that order is raised, and few items are begun beyond it."""
    begun: list[int] = []

    def call(n: int) -> int:
        begun.append(n)
        if n >= 100:
            raise ValueError(f"item {n}")
        return n

    seen: list[int] = []
    with pytest.raises(ValueError, match="item 100"):
        seen.extend(in_order(call, range(10_000), 8, "test"))
    assert seen == list(range(100))
    assert len(begun) <= 100 + 16


def test_no_more_is_begun_than_is_taken() -> None:
    """A caller that stops taking results leaves no thread, and at most twice as many items as threads were begun."""
    begun: list[int] = []
    results = in_order(begun.append, range(1000), 4, "left-alone")
    next(results)
    results.close()  # type: ignore[attr-defined]  # a generator
    assert len(begun) <= 8
    assert not [t for t in threading.enumerate() if t.name.startswith("left-alone")]
