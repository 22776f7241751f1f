"""Fidelity: every kind of film and picture held against its source."""
