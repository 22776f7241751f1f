"""Trials of the witnesses: a job of a cluster in which one fault is planted into Respool's own code.

The faults are in testkit/faults/planted.py. A trial tells whether the job failed and with which words, or what is wrong with
the film that it delivered.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import av
import numpy as np

from contract.job import Codec, Manifest, Spec, Witness
from testkit.cluster import Rig
from testkit.faults import planted
from testkit.materials.check import compare, film_of
from testkit.materials.grammar import SRT
from testkit.materials.headers import indexed
from testkit.materials.recipe import x264
from testkit.materials.write import Film, Sound, text_stream, write

_FILM = Film(
    "matroska",
    "libx264",
    x264(),
    size=(128, 96),
    sounds=(Sound("flac", language="eng"),),
    extra=(text_stream(SRT, "srt", "eng"),),
)
_PALETTE = Film("avi", "rawvideo", size=(64, 48), pix_fmt="pal8", frames=48, picture=indexed)
_CLOSE = 2.0
"""Mean difference of luma, in code values of 255, that lanczos at scale 1 may make."""


@dataclass(frozen=True)
class Defect:
    """A fault and the job that meets it. `words` say what it does."""

    name: str
    words: str
    film: Film = field(default_factory=lambda: _FILM)
    model: str = "identity"
    target: str = "mkv"
    codec: Codec = "ffv1"
    caught: str = "decoding"
    """The check that is there for it, as `witness_of` names them."""


DEFECTS = (
    Defect(planted.SWAPPED, "the decoder of a chunk gives two neighbours in each other's place"),
    Defect(planted.DOUBLED, "one frame of a chunk twice, the next one not"),
    Defect(planted.DROPPED, "a chunk delivers one frame less", caught="settling"),
    Defect(planted.SHIFTED, "each frame of a chunk is its successor"),
    Defect(planted.WRONG_KEY, "a chunk is decoded from the key frame of the chunk before"),
    Defect(planted.NO_KEY, "a chunk is cut without its key frame"),
    Defect(planted.FOREIGN, "a chunk is cut with the packets of the chunk before"),
    Defect(planted.NO_STATE, "a palette that was sent once is not replayed at a chunk's start", _PALETTE),
    Defect(planted.SWAPPED_LATER, "two frames change places between fingerprint and encoder", caught="result"),
    Defect(planted.DOUBLED_LATER, "one frame is encoded twice, the next one not", caught="result"),
    Defect(planted.SWAPPED_NETWORK, "two results of the network change places", model="lanczos", caught="result"),
    Defect(planted.INVERTED, "one frame is inverted before it is encoded", caught="result"),
    Defect(planted.EXCHANGED, "the second and third segment change places", caught="result"),
    Defect(planted.LAST_LOST, "the joiner loses the last packet", caught="settling"),
    Defect(planted.SOUND_CUT, "all our demuxing loses sound after the first second", caught="result"),
    Defect(planted.SUBTITLE_LOST, "all our demuxing loses the second subtitle", caught="result"),
    Defect(planted.PHANTOM, "the muxer adds a stream of sound that no source has", caught="result"),
    Defect(planted.LATE, "the second half of the plan's times is one frame late"),
    Defect(planted.STRETCHED, "the plan's times are those of another rate (1001 instead of 1000)"),
)


@dataclass(frozen=True)
class Outcome:
    """The end of a trial: ``failed`` with a reason, or a film that is ``wrong``, ``said`` or ``exact``."""

    state: str
    words: str


def trial(rig: Rig, folder: Path, defect: Defect, witness: Witness, seed: int) -> Outcome:
    """Run a job with `defect` active; the cluster was started with the fault ``planted`` and `folder`."""
    source = folder / f"film-{seed}.{'avi' if defect.film.format == 'avi' else 'mkv'}"
    source.write_bytes(write(replace(defect.film, seed=seed, options=dict(defect.film.options))))
    spec = Spec(
        model=defect.model,
        scale=1 if defect.model == "lanczos" else None,
        codec=defect.codec,
        chunk_frames=12,
        witness=witness,
        deinterlace="off",
    )
    (folder / "planted").write_text(defect.name)
    try:
        job = rig.submit(source, spec)
        manifest = rig.finish(job)
    finally:
        (folder / "planted").unlink()
    if manifest.state == "failed":
        return Outcome("failed", "; ".join(dict.fromkeys(failure.reason for failure in manifest.failures)))
    (path,) = rig.jobs.fetch(job, lambda file: folder / f"result-{seed}{Path(file.name).suffix}")
    return _judged(source.read_bytes(), path.read_bytes(), defect, manifest)


def _judged(source: bytes, result: bytes, defect: Defect, manifest: Manifest) -> Outcome:
    problems = compare(source, result, defect.model == "identity").problems
    if defect.model != "identity":
        problems = problems + _far(source, result)
    if not problems:
        return Outcome("exact", "")
    said = [*manifest.notes, *(hurt.reason for hurt in manifest.damage)]
    return Outcome("said" if said else "wrong", "; ".join(problems) + (" | " + "; ".join(said) if said else ""))


def _far(source: bytes, result: bytes) -> list[str]:
    pairs = zip(_lumas(source), _lumas(result), strict=True)
    far = [n for n, (before, after) in enumerate(pairs) if np.abs(before - after).mean() > _CLOSE]
    return [f"{len(far)} frames are far from the source, the first is {far[0]}"] if far else []


def _lumas(data: bytes) -> list[np.ndarray]:
    with av.open(io.BytesIO(data), "r") as container:
        frames = container.decode(film_of(container))
        return [frame.reformat(format="gray").to_ndarray().astype(np.float32) for frame in frames]


def witness_of(words: str) -> str:
    """Return which check the words of a failure come from."""
    marks: tuple[tuple[str, Callable[[str], bool]], ...] = (
        ("decoding", lambda said: "plain decode" in said),
        ("result", lambda said: "the result is not delivered" in said),
    )
    return next((name for name, fits in marks if fits(words)), "settling")
