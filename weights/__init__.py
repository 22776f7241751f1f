"""The catalog of generators and the code that fetches, verifies and converts their weights."""
