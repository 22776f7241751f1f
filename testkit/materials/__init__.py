"""Films that are hard to restore exactly, made by code: what the tests and `make fidelity` run on."""
