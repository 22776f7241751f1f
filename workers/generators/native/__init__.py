"""The native backend: Respool's own convolutions for CPUs, as machine code generated for the processor at hand.

In fp32 it uses Winograd's F(4x4, 3x3): a 3x3 convolution needs 9 multiplications for each output and channel, Winograd's algorithm
2.25 and some additions. That quarters the work without a visible loss, and brings processors without bf16 level with those that
have it. See Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2015, for the transforms.

In bf16 it convolves directly on processors with a matrix unit for it (AMX): every operand is read in place, and all layers of a
network are one call, in which threads share rows and wait for each other only at a layer's end.
"""
