"""The generator of a job that names none, by the kinds of its sources, and how much longer or shorter others take."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from contract.job import Kind
from orchestrator.ingest.images import kind_by_name, kind_of
from orchestrator.submission.presets import DRAWN, FILM, PHOTOGRAPH
from orchestrator.submission.sources import SourceFile

WORK = {PHOTOGRAPH: 35.85, DRAWN: 11.41, "realesr-general-x4v3": 2.42, FILM: 1.24}
"""MFLOP for each pixel of the source, as docs/operations.md has them: what decides a network's time."""


def kinds(files: Iterable[SourceFile]) -> set[Kind]:
    """Return the kinds of sources; a sequence of images is a film, and a file that cannot be opened is what its name says.

    So the default is the same when the submission is given again, and the file can be read.
    """
    found: set[Kind] = set()
    for file in files:
        try:
            found.add("video" if file.sequence is not None else kind_of(file.path, file.name))
        except OSError:  # the submission says so, by name
            found.add(kind_by_name(file.name))
    return found


def default_model(of: Collection[Kind]) -> tuple[str, str]:
    """Return the generator for sources of these kinds, and why, with what a faster or finer one would take."""
    times = round(WORK[PHOTOGRAPH] / WORK[FILM])
    if set(of) == {"video"}:
        return FILM, (
            f"model: {FILM}, the default for films: nearest to the truth and steadiest for its time, and no network is faster; "
            f"{PHOTOGRAPH} (--for photo) invents more detail and takes about {times} times as long"
        )
    faster = f"{FILM} (--for fast) takes about 1/{times} of the time"
    if set(of) == {"video", "image"}:
        return PHOTOGRAPH, (
            f"model: {PHOTOGRAPH}, the default where there are images among films; {faster}, and is the default for films alone"
        )
    return PHOTOGRAPH, (
        f"model: {PHOTOGRAPH}, the default for images: it looks most natural; {faster}, and draws lines on photographs"
    )
