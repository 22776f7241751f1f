"""From source bytes to an index and chunks."""
