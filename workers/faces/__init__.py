"""Faces: found, aligned, restored by a network made for them, and blended back onto the enhanced frame.

Off unless a job asks for it: a face restorer invents detail.
"""
