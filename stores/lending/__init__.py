"""The store, lent to a process without keys: its questions, the rights of its act, and the answers."""
