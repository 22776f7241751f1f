"""The order in which threads take the tile rows of layers that follow each other, so that a row's inputs are still in the cache."""

from __future__ import annotations

from collections.abc import Iterator


def in_order(layers: int, rows: int, lag: int) -> Iterator[tuple[int, int]]:
    """Yield the layer and row of each of `layers` x `rows` rows of tiles.

    A layer begins its first row `lag` rows after the layer before it. A row reads the rows beside it, too (see `needed`), so `lag` is
    at least 2, or a thread would wait for what comes after it in the order.
    """
    for step in range(rows + lag * (layers - 1)):
        for layer in range(layers):
            if 0 <= step - lag * layer < rows:
                yield layer, step - lag * layer


def needed(row: int, rows: int) -> range:
    """Return the rows of the layer before that must be done before `row` begins.

    They are those that it reads. They are enough for what it overwrites, too: every layer that reads the same buffer is further back,
    and by induction has done these rows before the layer between them could.
    """
    return range(max(0, row - 1), min(rows, row + 2))
