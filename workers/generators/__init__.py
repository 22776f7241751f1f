"""Generators: the networks (and baselines) that map frames to larger frames."""
