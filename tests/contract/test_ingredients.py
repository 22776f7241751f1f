"""Weights in a provenance record: those that Respool trained lead to their run."""

from __future__ import annotations

import msgspec

from contract.job import Spec, Weights
from contract.provenance import Ingredient, ingredients


def test_trained_weights_name_their_run_and_others_stay_as_they_were() -> None:
    """The origin of trained weights is kept; a record without it is read, and written without the field."""
    trained = "training run 0123456789abcdef, from x4plus; its record is train/0123456789abcdef/record.json"
    weights = [
        Weights("generator", "ours", "0" * 64, "srvgg", {}, "MIT", origin) for origin in (trained, "https://a/b.pth")
    ]
    ours, theirs = ingredients(Spec("ours", weights=tuple(weights)))
    assert ours.origin == trained
    assert b"origin" not in msgspec.json.encode(theirs)
    assert msgspec.json.decode(msgspec.json.encode(theirs), type=Ingredient) == theirs
