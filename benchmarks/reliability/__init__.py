"""Breaking a real cluster, row by row: what `make reliability` writes into docs/reliability.md."""
