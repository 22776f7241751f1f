"""Provenance: a record of every result as JSON, as PREMIS 3, and in BagIt bags."""
