"""Chunks of films: decode, enhance, encode."""
