"""Ids of jobs, derived from what is submitted."""

from __future__ import annotations

import hashlib

import msgspec

from contract.documents import raw
from contract.job import Item, Spec

_IDENTITY = 1  # goes into job ids, and never rises: the same submission is the same job under every version

_FIRST = frozenset((
    "model", "scale", "denoise", "face", "weights", "precision", "tile", "codec", "crf", "preset", "pix_fmt", "container",
    "faststart", "image_format", "alpha", "deinterlace", "chunk_frames", "hdr", "strict",
))  # fmt: skip
"""Fields of the first version's `Spec`. A field that came later stays out of the job id while it has its default, the value
that older specs are read with: a command repeated after an upgrade then finds the job that it began."""


def job_id(spec: Spec, items: tuple[Item, ...]) -> str:
    """Derive 16 hex digits from the spec and the items' names and SHA-256: the same submission is the same job."""
    known = {known.name: (getattr(spec, known.name), known.default) for known in msgspec.structs.fields(spec)}
    meant = {name: raw(value) for name, (value, default) in known.items() if name in _FIRST or value != default}
    body = msgspec.json.encode((_IDENTITY, meant, raw(items)))
    return hashlib.sha256(body).hexdigest()[:16]
