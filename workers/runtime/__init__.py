"""The worker process: Celery, leases, heartbeat, and the attempts at chunks."""
