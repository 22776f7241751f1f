"""The Celery application of a worker, with late acknowledgement; docs/architecture.md has the reason for each setting."""

from __future__ import annotations

from celery import Celery

from contract import tasks
from contract.settings import Settings
from stores import addresses


def make_app(settings: Settings) -> Celery:
    """Return the Celery application of worker processes; the orchestrator only publishes and has a smaller one."""
    broker = addresses.broker(settings)
    app = Celery("respool", include=["workers.runtime.tasks"])
    app.conf.update(
        **broker.conf,
        task_queues=list(broker.queues.values()),
        task_default_queue=tasks.QUEUE,
        task_serializer="json",
        accept_content=["json"],
        result_accept_content=["json"],
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_acks_on_timeout=False,
        task_time_limit=settings.chunk_hard_limit_s,
        task_soft_time_limit=settings.chunk_soft_limit_s,
        worker_prefetch_multiplier=1,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_proc_alive_timeout=120,
        worker_pool_start_method="spawn",
        worker_send_task_events=True,
        worker_consumer="workers.runtime.message_filter:MessageFilter",
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
    )
    return app
