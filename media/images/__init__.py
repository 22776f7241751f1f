"""Still images as both sides see them: what the bytes are, what becomes of them, how they are read and written.

Pixels go through libvips (pyvips), which streams images of any size; torch is not needed here.
"""
