"""The worker process: Celery, leases, heartbeat, the life of a chunk."""
