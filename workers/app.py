"""The Celery application of a worker: a doorbell with late acknowledgement. Why each setting: docs/architecture.md."""

from __future__ import annotations

from celery import Celery
from kombu.entity import Queue

from contract import tasks
from contract.settings import Settings


def make_app(settings: Settings) -> Celery:
    """Celery for worker processes; the orchestrator only publishes and has its own, smaller one."""
    app = Celery("respool", broker=settings.broker, include=["workers.tasks"])
    app.conf.update(
        task_queues=[Queue(tasks.QUEUE)],
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
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            "visibility_timeout": 3600,
            "unacked_restore_interval": 5,
            "unacked_restore_throttle": 1,
            "health_check_interval": 25,
            "socket_timeout": 30,
            "socket_keepalive": True,
        },
    )
    return app
