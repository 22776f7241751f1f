"""Recipes by default: small ones to fine-tune on any machine, the paper's to train from scratch."""

from __future__ import annotations

from typing import Any

import msgspec

from contract.errors import UsageError
from contract.training import Recipe

FINE: dict[str, Any] = {"steps": 400, "batch": 4, "patch": 32, "rate": 1e-4, "generic": 0.25}
PAPER_NET: dict[str, Any] = {
    "steps": 1_000_000,
    "batch": 12,
    "slots": 4,
    "patch": 64,
    "rate": 2e-4,
    "pool": 180,
    "sharpen": True,
    "validate_every": 5000,
    "checkpoint_every": 1000,
}
"""Real-ESRNet: options/train_realesrnet_x4plus.yml of the release (4 GPUs, 12 patches each, targets of 256 pixels)."""
PAPER_GAN: dict[str, Any] = {**PAPER_NET, "steps": 400_000, "rate": 1e-4}
"""Real-ESRGAN: options/train_realesrgan_x4plus.yml."""


def recipe(options: dict[str, Any], fine: bool) -> Recipe:
    """Return a recipe: the defaults for fine-tuning or from scratch, with `options` in their place.

    Raises UsageError for an option that the recipe does not have or a value out of range.
    """
    gan = options.get("stage") == "gan"
    base = dict(FINE) if fine else dict(PAPER_GAN if gan else PAPER_NET)
    merged = {**base, **options}
    for name in ("validate_every", "checkpoint_every"):
        if name not in options and fine:
            merged[name] = max(10, int(merged["steps"]) // 8)
    try:
        made = msgspec.convert(merged, Recipe)
    except msgspec.ValidationError as error:
        raise UsageError(f"the recipe cannot be used: {error}; docs/training.md lists its fields.") from error
    if made.pool and made.pool < made.batch:
        raise UsageError(f"pool is {made.pool}, but a micro-batch has {made.batch} patches; give a multiple of that.")
    return made
