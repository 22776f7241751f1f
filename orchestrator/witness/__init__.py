"""The witnesses of films: sources and results decoded once more, by the plainest way, and compared with what was done."""
