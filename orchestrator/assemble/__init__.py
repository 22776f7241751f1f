"""Assembly of committed chunks into the user's results."""
