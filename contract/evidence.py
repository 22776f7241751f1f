"""Schemas of the evidence about a film's faults over time: the places of a film that are looked at, and what filters find in them."""

from __future__ import annotations

from msgspec import Struct

from contract.film import Colour, Scanning
from contract.job import Natural, Positive

JUDGED = 24
"""Frames of a place that are judged: a second of film."""
PREROLL = 600
"""Frames that are decoded at most to reach a place from the key frame before it."""


class Place(Struct, frozen=True, forbid_unknown_fields=True):
    """Frames `first` .. `first + count - 1` (positions), of which `judged` are judged from `start` on; the others are context.

    `pts` is the time of the first one in the stream's time base, None for the film's beginning.
    """

    first: Natural
    count: Positive
    start: Natural
    judged: Positive
    pts: int | None = None


class LookOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """A film on disk whose places are to be looked at; `filters` are names of filters over time."""

    name: str
    stream: Natural
    colour: Colour
    scanning: Scanning
    deinterlace: bool
    places: tuple[Place, ...]
    filters: tuple[str, ...]


class Finding(Struct, frozen=True, forbid_unknown_fields=True):
    """Changes that a filter would make in one place.

    `frames` counts the judged frames that it would change. `amount` is the root mean square over all judged frames: of the change of the
    mean level in code values for `deflicker` (or of the part that changes most), of the shift in pixels for `stabilise`; for `scratches` it is the largest contrast
    in code values, `columns` are those of the lines that are in half of the frames or more, and `travelled` counts the pixels that the picture
    moves sideways meanwhile, in one direction or the other: where it stands still, a line may be of the scene. For `dirt`, which is looked for in
    `looked` judged frames alone, `frames` counts those with clear blotches, `amount` is the mean number of these in a frame, and `others` that
    of spots that are as clear and no dirt, as things that move.
    """

    filter: str
    frames: Natural
    amount: float
    columns: tuple[Natural, ...] = ()
    travelled: float = 0.0
    looked: Natural | None = None
    others: float = 0.0


class Look(Struct, frozen=True, forbid_unknown_fields=True):
    """One place as it was looked at: `judged` frames from position `start` on.

    `grain` is the standard deviation in code values of fine change from frame to frame in the flattest quarter of the picture: grain, or
    texture that moves. `still` is the share of the picture that changes by little more than that. Both
    are None where no two frames could be compared.
    """

    start: Natural
    decoded: Natural
    judged: Natural
    findings: tuple[Finding, ...] = ()
    grain: float | None = None
    still: float | None = None


class Evidence(Struct, frozen=True, forbid_unknown_fields=True):
    """The places of a film that could be looked at, in order, and the reason why others could not."""

    looks: tuple[Look, ...] = ()
    reason: str = ""

    @property
    def judged(self) -> int:
        """Frames that were judged."""
        return sum(look.judged for look in self.looks)
