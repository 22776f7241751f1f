"""Faces: detect, align, restore, paste back."""
