"""The programs that Respool starts in processes of their own, by the module that each runs.

Every launch takes its name from here, so that a module that moves is followed in one place.
"""

from __future__ import annotations

import sys
from enum import StrEnum


class Program(StrEnum):
    """A module that is run with ``python -m``."""

    COMMAND_LINE = "orchestrator.cli.main"
    SUPERVISOR = "orchestrator.local.supervisor"
    SANDBOX = "orchestrator.sandbox.child"
    ENCODER_TRIAL = "media.encoder_trial"
    FILM_EVIDENCE = "workers.film.evidence_process"
    WORKER = "workers.runtime.main"
    DEGRADE = "training.degrade"
    EVALUATE = "training.evaluate"
    TRAIN = "training"
    TRAIN_RANK = "training.rank"
    TRAIN_CONCLUDE = "training.conclude"
    MEASURE_DAMAGE = "training.measure"
    INSPECT_CHECKPOINT = "training.inspect_checkpoint"


def command_line(program: Program, *arguments: object) -> list[str]:
    """Return the command line that runs `program` with this interpreter.

    With -P nothing is imported from the working directory, which may be a folder of sources that others named.
    """
    return [sys.executable, "-P", "-m", program.value, *map(str, arguments)]
