"""Evaluation of generators: clean images are degraded, restored, and compared with the originals."""
