"""Processes with limits, in which untrusted media are parsed."""
