"""Celery workers that hold a loaded generator; never import the orchestrator."""
