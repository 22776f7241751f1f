"""From committed chunks to what the user gets."""
