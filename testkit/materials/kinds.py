"""The kinds of film that came out wrong once they were made after reports by people who work with archives."""

from __future__ import annotations

from testkit.materials.headers import HEADERS
from testkit.materials.recipe import Material

KINDS: tuple[Material, ...] = (*HEADERS,)
