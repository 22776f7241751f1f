"""Submission: from files on disk to a job in the store."""
