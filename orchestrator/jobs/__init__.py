"""Reading, controlling, retrying and cleaning up jobs."""
