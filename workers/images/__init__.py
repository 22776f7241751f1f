"""Enhancement of still images, and of bands of large ones."""
