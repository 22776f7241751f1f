"""Machine code generated for the processor at hand: emitting LLVM code, compiling it, and converting RGB to a film's planes.

The code of the networks is in `workers.generators.native`.
"""
