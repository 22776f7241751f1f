"""Still images and bands of large ones."""
