"""Pieces of films: words, bounds and window of the frames that were found."""

from __future__ import annotations

from fractions import Fraction

from contract.piece import Bounds, Piece


def test_a_piece_names_its_frames_and_asks_for_itself() -> None:
    """Bounds by frames give the same piece again, and its window is open where the source ends."""
    piece = Piece(5, 10, 15, (1, 5))
    assert piece.words == "frames 5 to 14 of 15"
    assert piece.bounds == Bounds("frame:5", "frame:15")
    assert piece.window == (Fraction(1, 5), None)
    assert Piece(0, 5, 15, (0, 1), (1, 5)).window == (None, Fraction(1, 5))
