"""The order of tile rows: everything once, and nothing before what it needs."""

from __future__ import annotations

import pytest

from workers.generators.native.row_order import in_order, needed


@pytest.mark.parametrize("layers", [1, 2, 5, 9])
@pytest.mark.parametrize("rows", [1, 2, 3, 40])
@pytest.mark.parametrize("lag", [2, 3, 14])
def test_every_row_comes_once_and_after_what_it_needs(layers: int, rows: int, lag: int) -> None:
    """A thread that takes rows in this order never waits for a row that nobody has taken."""
    listed = list(in_order(layers, rows, lag))
    assert sorted(listed) == [(layer, row) for layer in range(layers) for row in range(rows)]
    place = {task: n for n, task in enumerate(listed)}
    for layer, row in listed:
        if layer:
            assert all(place[layer - 1, other] < place[layer, row] for other in needed(row, rows))


def test_a_row_needs_itself_and_its_neighbours() -> None:
    """The picture's first and last rows have one neighbour, or none."""
    assert [list(needed(row, 3)) for row in range(3)] == [[0, 1], [0, 1, 2], [1, 2]]
    assert list(needed(0, 1)) == [0]


def test_a_buffer_is_overwritten_only_after_its_readers() -> None:
    """Two buffers that layers use in turn: when a row is written, each earlier layer that reads it there has done so."""
    layers, rows = 6, 12
    done: set[tuple[int, int]] = set()
    for layer, row in in_order(layers, rows, 2):
        for reader in range(1, layer):
            if (reader - 1) % 2 == layer % 2:  # it reads the buffer that this layer writes
                assert all((reader, other) in done for other in needed(row, rows))
        done.add((layer, row))
