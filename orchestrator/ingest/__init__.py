"""Ingest: from source bytes to an index and chunks."""
