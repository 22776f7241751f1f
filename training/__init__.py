"""Degradation of clean material, evaluation of generators, inspection of checkpoints. Torch lives here."""
