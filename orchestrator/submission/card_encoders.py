"""Refusal of films whose encoder is that of a card, where no machine that would encode them has it."""

from __future__ import annotations

import os
from collections.abc import Sequence

from contract.encoder_headers import encoding_sha256
from contract.errors import Unreachable, UsageError
from contract.film import Encoding
from contract.settings import Settings
from media import nvenc
from media.encoder_trial import try_encoder
from orchestrator.submission.outlook import FilmOutlook
from stores.ledger import Ledger
from stores.processes import death_signal


def check_machine(films: Sequence[FilmOutlook]) -> None:
    """Raise UsageError where this machine cannot encode one of `films` with the card's encoder that its plan names.

    Each different encoding is tried in a process of its own, so that sizes and depths count, too.
    """
    for encoding in _wanted(films):
        problem = try_encoder(encoding, death_signal(os.getpid())).problem
        if problem:
            what = f"{encoding.width}x{encoding.height} {encoding.pix_fmt} with {encoding.codec}"
            raise UsageError(
                f"this machine cannot encode {what}: {problem}; use --codec {_instead(encoding)}, or a machine whose card can."
            )


def check_workers(films: Sequence[FilmOutlook], settings: Settings) -> str:
    """Raise UsageError where no live worker of the cluster of `settings` has the card's encoder that `films` need.

    Return a sentence about a job that may wait for such a worker, "" where one is there or none is needed.
    """
    wanted = _wanted(films)
    if not wanted:
        return ""
    codec = wanted[0].codec
    try:
        workers = Ledger(settings).workers().values()
    except Unreachable as error:
        return f"{codec}: whether a worker has it is unknown: {error}"
    told = [info.get("encoders") for info in workers]
    if not told:
        return f"{codec}: no worker is alive; the job waits for one whose NVIDIA card has this encoder"
    if any(not isinstance(able, list) or codec in able for able in told):  # one that has just started does not tell yet
        return ""
    count = "the only worker does not have" if len(told) == 1 else f"none of the {len(told)} workers has"
    raise UsageError(
        f"{count} {codec}; use --codec {_instead(wanted[0])}, or first start a worker where an NVIDIA card has this encoder."
    )


def _wanted(films: Sequence[FilmOutlook]) -> list[Encoding]:
    """Return the different encodings among `films` that need a card."""
    found = {
        encoding_sha256(film.index.encoding): film.index.encoding
        for film in films
        if film.index.encoding.codec in nvenc.ENCODERS
    }
    return list(found.values())


def _instead(encoding: Encoding) -> str:
    return nvenc.ENCODERS[encoding.codec].instead
