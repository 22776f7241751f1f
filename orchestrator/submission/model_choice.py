"""The generator of a command that names none: chosen by the kinds of its sources, and named to the user."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from orchestrator.submission.presets import AUTO

if TYPE_CHECKING:
    from contract.job import Spec
    from orchestrator.submission.sources import Found


def with_model(spec: Spec, sources: Sequence[Path] | Found, say: Callable[[str], None]) -> tuple[Spec, Found]:
    """Return the spec with a generator for `sources`, and what was found of these; `say` gets the name of a default generator, and the reason for it."""
    from orchestrator.submission.default_model import default_model, kinds
    from orchestrator.submission.sources import Found, find

    found = sources if isinstance(sources, Found) else find(sources)
    if spec.model != AUTO:
        return spec, found
    model, why = default_model(kinds(found.files))
    say(why)
    return msgspec.structs.replace(spec, model=model), found
