"""Schemas that orchestrator and workers agree on: job, film, packet runs, keys, messages, settings, errors."""
