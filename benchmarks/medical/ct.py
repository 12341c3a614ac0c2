"""Sparse-view CT: 30 directions with noise, against filtered back projection and total variation.

    python benchmarks/medical/ct.py --model runs/ct --out runs/medical-ct

Slices of the run's own test part, which lies above the trained one. See README.md.
"""

from __future__ import annotations

import slices
import torch
import total_variation
from skimage.transform import iradon
from study import Study, arguments, load
from torch import Tensor

from perrin.guide.operators import Radon
from perrin.restoration.tasks import ct
from perrin.training import recipe as recipes
from perrin.training.setup import open_data

ANGLES = 30
BRIGHT = 0.005  # share of a slice: above the head lies nothing but air
FILTERS = ("ramp", "shepp-logan", "cosine", "hamming", "hann")
WEIGHTS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)


def back_projected(operator: Radon, y: Tensor, name: str) -> Tensor:
    """Filtered back projections, of what is above black."""
    black = operator(torch.full((1, *operator.shape), -1.0, dtype=y.dtype))
    angles, size = operator.angles.numpy(), operator.shape[-1]
    found = [
        iradon(one[0].T.numpy(), angles, output_size=size, filter_name=name, circle=False)
        for one in y - black
    ]
    return torch.stack([torch.from_numpy(one)[None] for one in found]) - 1


def main() -> None:
    given = arguments(__doc__, 0.3, {})
    model = load(given.model)
    data = open_data(recipes.validate(recipes.read(given.model / "recipe.yaml")))
    assert data.test is not None
    assert data.validation is not None
    cut = model.codec.cut
    operator = ct(model.codec.shape, angles=ANGLES)
    sets = {"test": slices.encoded(model, cut(data.test), given.slices, BRIGHT)}
    study = Study(given, model, operator, sets, slices.encoded(model, cut(data.validation), 8, BRIGHT))

    def variation(y: Tensor, weight: float) -> Tensor:
        return total_variation.reconstruct(operator, y.float(), weight, rounds=60)

    study.baseline("filtered back projection", lambda y, name: back_projected(operator, y, name), FILTERS)
    study.baseline("total variation", variation, WEIGHTS)
    study.posterior()
    print(study.report(["filtered back projection", "total variation", "posterior mean"]))


if __name__ == "__main__":
    main()
