"""Faults on a real cluster, row by row: `make reliability` writes the results into docs/reliability.md."""
