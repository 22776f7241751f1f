"""Our own convolutions for CPUs: Winograd's F(4x4, 3x3) in fp32, as machine code made for the processor at hand.

A 3x3 convolution needs 9 multiplications for each output and channel; Winograd's way needs 2.25 and some additions. That
quarters the work in fp32, at no loss that shows, and puts processors without bf16 beside those that have it.
See Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2015, for the transforms.
"""
