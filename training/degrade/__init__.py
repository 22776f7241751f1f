"""The second-order degradation of the Real-ESRGAN paper, as a tool with seeds and a record of every draw.

Source: Wang, Xie, Dong, Shan, "Real-ESRGAN: Training Real-World Blind Super-Resolution with Pure Synthetic Data",
2021 (arXiv 2107.10833), sections 3.1-3.3; the ranges are those of its published training options.
"""
