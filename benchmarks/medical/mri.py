"""Accelerated MRI: a quarter of the columns of k-space with noise, against zero filling and total variation.

    python benchmarks/medical/mri.py --model runs/mri --other spm152.nii.gz --out runs/medical-mri

Slices of the run's own test split, and axial slices of a volume that it was not trained on. See README.md.
"""

from __future__ import annotations

import slices
import total_variation
from study import Study, arguments, load
from torch import Tensor

from perrin.restoration.tasks import mri
from perrin.training import recipe as recipes
from perrin.training.setup import open_data

WEIGHTS = (0.002, 0.004, 0.007, 0.01, 0.015, 0.025, 0.05)


def main() -> None:
    given = arguments(__doc__, 0.05, {"other": "a NIfTI volume of a head"})
    model = load(given.model)
    data = open_data(recipes.validate(recipes.read(given.model / "recipe.yaml")))
    assert data.test is not None
    assert data.validation is not None
    operator = mri(model.codec.shape)
    sets = {
        "test": slices.encoded(model, data.test, given.slices),
        "other": slices.other_head(model, given.other, given.slices // 2),
    }
    study = Study(given, model, operator, sets, slices.encoded(model, data.validation, 16))

    def zero_filled(y: Tensor, _: None) -> Tensor:
        return operator.adjoint(y)

    def variation(y: Tensor, weight: float) -> Tensor:
        return total_variation.reconstruct(operator, y, weight, rounds=100)

    study.baseline("zero-filled", zero_filled)
    study.baseline("total variation", variation, WEIGHTS)
    study.posterior()
    print(study.report(["zero-filled", "total variation", "posterior mean"]))


if __name__ == "__main__":
    main()
