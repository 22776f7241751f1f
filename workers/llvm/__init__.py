"""Code made for the processor at hand: how it is written, how it becomes functions, and the way from RGB to a film's planes.

The networks' own is in `workers.generators.native`.
"""
