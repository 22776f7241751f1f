"""A worker process: `python -m workers.runtime.main`. Settings come from RESPOOL_*.

SIGTERM and SIGINT end it gracefully: the pool process hands its chunk back at once, the parent accepts no more
messages and exits. Celery's own soft shutdown would sleep its whole time-out first.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from typing import Any

from billiard import active_children
from celery.signals import worker_shutting_down

from contract import logging as log
from contract.errors import RespoolError
from contract.settings import load
from stores.ledger import Ledger
from stores.storage import Storage
from workers.runtime import process_env
from workers.runtime.app import make_app
from workers.runtime.tasks import HAND_BACK

logger = logging.getLogger(__name__)


def _hand_back(**_: Any) -> None:
    for child in active_children():
        os.kill(child.pid, HAND_BACK)


def main() -> int:
    """Run one worker until a signal ends it; return its exit code, which is 3 when Redis or S3 cannot be reached."""
    argparse.ArgumentParser(description="Run one worker; settings come from RESPOOL_*.").parse_args()
    settings = load()
    log.configure(settings)
    process_env.configure()
    try:
        Ledger(settings).ping()
        Storage(settings).ensure_bucket()
    except RespoolError as error:
        logger.error("%s", error)
        return 3
    worker_shutting_down.connect(_hand_back, weak=False)
    worker = make_app(settings).Worker(
        pool="prefork",
        concurrency=1,
        hostname=f"w{os.getpid()}@{os.uname().nodename}",
        without_gossip=True,
        without_mingle=True,
        task_events=True,
        loglevel="WARNING",
        quiet=True,
    )
    worker.start()
    return int(worker.exitcode or 0)


if __name__ == "__main__":
    sys.exit(main())
