"""The outside world that holds state: S3, the Redis ledger, atomic files, the metrics server."""
