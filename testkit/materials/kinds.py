"""The kinds of film that came out wrong once they were made after reports by people who work with archives."""

from __future__ import annotations

from testkit.materials.changing_sound import CHANGING_SOUND
from testkit.materials.drawn import DRAWN
from testkit.materials.dynamic_range import DYNAMIC_RANGE
from testkit.materials.edges import EDGES
from testkit.materials.fast import FAST
from testkit.materials.headers import HEADERS
from testkit.materials.messages import MESSAGES
from testkit.materials.not_broken import NOT_BROKEN
from testkit.materials.recipe import Material

KINDS: tuple[Material, ...] = (*HEADERS, *CHANGING_SOUND, *MESSAGES, *DYNAMIC_RANGE, *FAST, *NOT_BROKEN, *EDGES, *DRAWN)
