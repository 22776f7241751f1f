"""Face restoration: faces are detected, aligned, restored by a network for faces, and blended into the enhanced frame.

It is off by default, because a face restorer invents detail.
"""
