"""The native backend: Respool's own convolutions for CPUs, as machine code generated for the processor at hand.

Most processors use Winograd's F(4x4, 3x3): a 3x3 convolution needs 9 multiplications for each output and channel, Winograd's
algorithm 2.25 and some additions. In fp32 that quarters the work without a visible loss. Processors that multiply vectors of bf16
do its products in bf16, which halves them again, at 53 dB or more from fp32 (decision 0022).

Processors with a matrix unit for bf16 (AMX) convolve directly on it: every operand is read in place, and all layers of a network are
one call, in which threads share rows and wait for each other only at a layer's end.
"""
