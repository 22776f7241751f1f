"""From what a user asked for to run.json: parent, data, recipe, and the id that follows from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version

import msgspec

from contract import keys
from contract.errors import UsageError
from contract.job import Weights
from contract.settings import Settings
from contract.training import LeftOut, Recipe, Run, run_id
from stores.processor import usable_cores
from stores.storage import Storage
from training.data import sources
from training.data.selection import Selection
from training.data.sources import Source
from training.degrade.damage_file import Damage
from training.networks import TRAINABLE

Say = Callable[[str], None]


@dataclass(frozen=True)
class Request:
    """The requested training. It has either `clean` and `damage`, or `low` and `high`; `parent` is None from scratch."""

    name: str
    recipe: Recipe
    parent: Weights | None
    architecture: str
    parameters: dict[str, int | float | str | bool]
    scale: int
    clean: tuple[str, ...] = ()
    damage: Damage | None = None
    low: str = ""
    high: str = ""
    licence: str = "NOASSERTION"
    time_s: float | None = None
    force: bool = False


def plan(request: Request, settings: Settings, say: Say) -> Run:
    """Look at the data and put the run together; raise UsageError when it cannot be trained."""
    if request.architecture not in TRAINABLE:
        raise UsageError(
            f"{request.parent.name if request.parent else request.architecture} is a {request.architecture}, which is not "
            f"trained here; start from a generator that is {' or '.join(TRAINABLE)}."
        )
    chosen = Selection(request.scale, request.recipe.patch * request.scale)
    if request.clean:
        chosen.add_clean(sources.find(request.clean, settings))
    else:
        pairs, alone = paired(sources.find((request.low,), settings), sources.find((request.high,), settings))
        chosen.add_pairs(pairs)
        chosen.left_out += alone
    for left in chosen.left_out:
        say(f"left out: {left.name}: {left.reason}")
    pictures = chosen.divided()
    run = Run(
        id="0" * 16,
        name=request.name,
        architecture=request.architecture,
        parameters=request.parameters,
        scale=request.scale,
        parent=request.parent,
        recipe=request.recipe,
        pictures=pictures,
        left_out=tuple(chosen.left_out),
        damage=request.damage.plain() if request.damage else None,
        licence=request.licence,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        time_s=request.time_s,
        force=request.force,
        versions={package: version(package) for package in ("respool", "torch", "basicsr", "realesrgan", "numpy")},
    )
    return msgspec.structs.replace(run, id=run_id(run))


def enter(run: Run, storage: Storage) -> Run:
    """Write run.json, or return the one that is there: the same run, begun before."""
    key = keys.train_document(run.id, "run.json")
    if storage.put(key, msgspec.json.encode(run), if_absent=True):
        return run
    return msgspec.json.decode(storage.get(key), type=Run)


def paired(low: list[Source], high: list[Source]) -> tuple[list[tuple[Source, Source]], list[LeftOut]]:
    """Match two folders by the names of their files without suffix; gives the pairs and those without a partner."""
    by_stem = {source.path.stem: source for source in low}
    pairs = [(by_stem[source.path.stem], source) for source in high if source.path.stem in by_stem]
    matched = {source.path.stem for _, source in pairs}
    alone = [
        LeftOut(source.name, f"no partner of the name {source.path.stem!r} on the other side.")
        for source in (*low, *high)
        if source.path.stem not in matched
    ]
    return pairs, alone


def threads_for(ranks: int) -> int:
    """Return the threads that each of `ranks` processes gets of this machine's cores."""
    return max(1, usable_cores() // ranks)
