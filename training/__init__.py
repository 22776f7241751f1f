"""Degradation of clean material, evaluation of generators, and inspection of checkpoints; torch may be imported here."""
