"""The Celery tasks: one, which rings. Everything heavy lives in the pool process and is loaded there once."""

from __future__ import annotations

import logging
import os
import signal
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from celery import shared_task
from celery.signals import worker_process_init, worker_process_shutdown

from contract import logging as log
from contract import tasks
from contract.errors import RespoolError, UsageError
from contract.settings import Settings, load
from stores.metrics_server import served
from stores.processes import die_with_parent

if TYPE_CHECKING:
    from workers.runtime.worker import Worker

logger = logging.getLogger(__name__)

HAND_BACK = signal.SIGUSR2
"""What the parent sends its pool process when the worker is to end: give the chunk back now."""

_END = {HAND_BACK, signal.SIGTERM}
"""Slurm and systemd send SIGTERM to every process at once, not to the parent alone; here it means the same."""

_GRACE_S = 15.0
_worker: Worker | None = None
_resources = ExitStack()
_ended = threading.Event()


def _listen(worker: Worker) -> None:
    """Wait for HAND_BACK in a thread: the main thread may sit in a long call and would hear it too late."""
    heard = signal.sigwait(_END)
    worker.hand_back()
    worker.idle.wait(_GRACE_S)
    if not worker.idle.is_set():
        os._exit(0)  # a batch that outlasts the grace period; its chunk is somebody else's already
    if heard == signal.SIGTERM and not _ended.wait(_GRACE_S):
        worker.end()  # the signal was for this process alone, and nobody else will end it
        os._exit(0)


@worker_process_init.connect
def _setup(**_: Any) -> None:
    """Load torch and what the process holds here, never in the parent."""
    global _worker
    signal.pthread_sigmask(signal.SIG_BLOCK, _END)
    die_with_parent()  # of a killed parent nobody would tell it to end
    settings = load()
    log.configure(settings)
    from workers.runtime.worker import Worker

    _worker = Worker(settings)
    threading.Thread(target=_listen, args=(_worker,), name="hand-back", daemon=True).start()
    _worker.start()
    _measure(settings, _worker)


def _measure(settings: Settings, worker: Worker) -> None:
    """Serve this process' metrics for as long as it lives. A port that is taken costs the metrics, not the worker."""
    try:
        _resources.enter_context(served(settings, worker.meter.registry, worker.pulse.alive))
    except UsageError as error:
        logger.warning("%s", error)


@worker_process_shutdown.connect
def _teardown(**_: Any) -> None:
    if _worker is not None:
        _worker.end()
    _resources.close()
    _ended.set()


@shared_task(name=tasks.ENHANCE, throws=(RespoolError,))
def enhance(message: object) -> None:
    """Work on the chunk that the message names, when it still needs work."""
    if _worker is None:
        raise RuntimeError("the pool process was not set up; worker_process_init did not run")
    try:
        ring = tasks.from_message(message)
    except RespoolError as error:
        logger.warning("%s", error)
        raise  # so that Flower shows it
    verdict = _worker.work(ring.job, ring.chunk)
    logger.info("%s", verdict, extra={"job": ring.job, "chunk": ring.chunk})
