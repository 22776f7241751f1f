"""Long ingests and assemblies do not hold up what is urgent or small."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from concurrent.futures import wait
from pathlib import Path

import msgspec
import pytest

from orchestrator.service.fair_share import ACTS, MOST_ACTS, may_begin
from orchestrator.service.film_witness import FilmWitness
from testkit.clips import make_film
from testkit.stepped import Stepped

_SEEDS = itertools.count(700)


def test_places_are_for_the_urgent_and_the_small() -> None:
    """Two at a time; a third when it is of a higher priority, or a tenth of the others' size; never more."""
    films = [(-4, 1000, "a"), (-4, 2000, "b")]
    assert may_begin((0, 10**9, "c"), films[:1])
    assert not may_begin((-4, 101, "c"), films)
    assert may_begin((-4, 100, "c"), films)
    assert may_begin((-5, 10**9, "c"), films)
    assert not may_begin((-9, 1, "d"), [*films, (-4, 1, "c")])
    assert MOST_ACTS > ACTS


def test_two_long_ingests_hold_up_no_urgent_job(
    cluster: Stepped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While two jobs are ingested and do not end, an urgent one is planned."""
    films = [make_film(tmp_path / f"{n}.mp4", 10, seed=next(_SEEDS)) for n in range(3)]
    jobs = [cluster.submit([film]) for film in films]
    urgent = jobs[2]
    known = cluster.records.job

    def job(name: str) -> object:
        found = known(name)
        return msgspec.structs.replace(found, priority=9) if name == urgent else found

    monkeypatch.setattr(cluster.services[0]._records, "job", job)
    ends = threading.Event()
    run = cluster.acts.run

    def slowly(act: str, name: str, checkpoint: Callable[[], None]) -> None:
        if name != urgent:
            ends.wait()
        run(act, name, checkpoint)  # type: ignore[arg-type]

    monkeypatch.setattr(cluster.acts, "run", slowly)
    service = cluster.services[0]
    while cluster.records.plan(urgent) is None:
        service.tick()
        wait([service._acts[urgent]] if urgent in service._acts else [])
    for _ in range(3):
        service.tick()
    assert len([name for name, began in service._acts.items() if name != urgent and not began.done()]) == ACTS
    ends.set()
    wait(service._acts.values())


def test_a_film_that_waits_for_its_witness_is_read_by_assembly() -> None:
    """A decode that is queued behind another job's long one does not keep its job from being assembled."""
    ends, begun = threading.Event(), threading.Event()

    def locked(job: str) -> Callable[[], None]:
        def read() -> None:
            begun.set()
            ends.wait()

        return read

    witness = FilmWitness(locked)
    witness.start("long")
    begun.wait()
    witness.start("short")
    assert not witness.rests("long")
    assert witness.rests("short")
    ends.set()
    witness.close()
