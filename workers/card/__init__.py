"""Kernels in Triton for cards, what launches them, and the proof on the machine at hand that they are right."""
