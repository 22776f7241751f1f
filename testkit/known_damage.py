"""One damage without any chance in it but noise, against which training is scored."""

DAMAGE = """version = 1
order = 1
[ranges.first]
resize_probability = [0.0, 1.0, 0.0]
resize = [0.25, 0.25]
resamplings = ["area"]
shapes = { aniso = 1.0 }
kernel_sizes = [21]
sinc_probability = 0.0
blur_sigma = [3.0, 3.0]
blur_sigma_y = [1.2, 1.2]
angle = [0.0, 0.0]
gaussian_probability = 1.0
gaussian_noise = [2.0, 2.0]
grey_probability = 0.0
jpeg = [95, 95]
"""
"""An anisotropic blur of 3.0 x 1.2 pixels, noise of 2 code values, JPEG 95."""
