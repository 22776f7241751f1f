"""The orchestrator's loop: watch every open job, dispatch its chunks, finish it."""
