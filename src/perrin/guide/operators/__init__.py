"""Operators: linear measurements y = A x of clean states, with their adjoints, for restoration.

`Mask` (inpainting, outpainting, gaps), `Blur`, `Downsample`, `Grey`, `KSpace`, `Radon`, `Compressed`; and `Clip`, which
is not linear and says what linear measurement stands for it.
"""

from perrin.guide.operators.blurring import Blur, gaussian_blur, motion_blur
from perrin.guide.operators.clipping import Clip
from perrin.guide.operators.colours import Grey
from perrin.guide.operators.compressed import Compressed
from perrin.guide.operators.downsampling import Downsample
from perrin.guide.operators.fourier import KSpace, cartesian
from perrin.guide.operators.linear import Operator
from perrin.guide.operators.masking import Mask
from perrin.guide.operators.projections import Radon

__all__ = [
    "Blur",
    "Clip",
    "Compressed",
    "Downsample",
    "Grey",
    "KSpace",
    "Mask",
    "Operator",
    "Radon",
    "cartesian",
    "gaussian_blur",
    "motion_blur",
]
