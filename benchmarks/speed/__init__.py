"""Speed and memory, of parts and of whole commands."""
