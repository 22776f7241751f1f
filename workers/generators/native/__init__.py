"""Our own convolutions for CPUs, as machine code made for the processor at hand, in two ways.

In fp32, Winograd's F(4x4, 3x3): a 3x3 convolution needs 9 multiplications for each output and channel, Winograd's way 2.25 and
some additions. That quarters the work, at no loss that shows, and puts processors without bf16 beside those that have it.
See Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2015, for the transforms.

In bf16, direct, on processors that multiply matrices of it (AMX): every operand is read where it lies, and all layers of a
network are one call, in which threads share rows and never wait for each other but at a layer's end.
"""
