"""Dataset expansion: labelled synthetic sets in the layout of the real data, filtered, and measured for what they are for.

found = perrin.augment("runs/mri", "slices.parquet", subset="train", per_class=200)
found.measure(seeds=5)                                            # real, synthetic, both: one classifier, paired seeds
found.save("slices-synthetic.parquet")                            # opens with the same reader and options
"""

from perrin.augmenting.filtering import Filter, Options
from perrin.augmenting.layouts import Layout, Made, layout_of
from perrin.augmenting.measuring import Worth, worth
from perrin.augmenting.outcome import Expansion
from perrin.augmenting.real import Part, Real, open_real

__all__ = [
    "Expansion",
    "Filter",
    "Layout",
    "Made",
    "Options",
    "Part",
    "Real",
    "Worth",
    "layout_of",
    "open_real",
    "worth",
]
