"""What orchestrator and workers agree on: words, keys, messages, storage and ledger."""
