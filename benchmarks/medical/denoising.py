"""White noise on slices, against total variation and non-local means.

    python benchmarks/medical/denoising.py --model runs/mri --out runs/medical-denoising

Slices of the run's own test split. See README.md.
"""

from __future__ import annotations

import slices
import torch
from skimage.restoration import denoise_nl_means, denoise_tv_chambolle
from study import Study, arguments, load
from torch import Tensor

from perrin.contracts import Cuts
from perrin.restoration.tasks import denoise
from perrin.training import recipe as recipes
from perrin.training.setup import open_data

WEIGHTS = (0.03, 0.05, 0.07, 0.1, 0.15, 0.2)
STRENGTHS = (0.6, 0.8, 1.0, 1.2)  # of the filter, in standard deviations of the noise


def main() -> None:
    given = arguments(__doc__, 0.1, {})
    model = load(given.model)
    data = open_data(recipes.validate(recipes.read(given.model / "recipe.yaml")))
    test, choice = (
        model.codec.cut(d) if isinstance(model.codec, Cuts) else d for d in (data.test, data.validation)
    )
    study = Study(
        given,
        model,
        denoise(model.codec.shape),
        {"test": slices.encoded(model, test, given.slices)},
        slices.encoded(model, choice, 16),
    )

    def variation(y: Tensor, weight: float) -> Tensor:
        return torch.stack([torch.from_numpy(denoise_tv_chambolle(one.numpy(), weight)) for one in y])

    def non_local(y: Tensor, strength: float) -> Tensor:
        found = [
            denoise_nl_means(one[0].numpy(), 5, 9, strength * given.noise, fast_mode=False, sigma=given.noise)
            for one in y
        ]
        return torch.stack([torch.from_numpy(one)[None] for one in found])

    study.baseline("total variation", variation, WEIGHTS)
    study.baseline("non-local means", non_local, STRENGTHS)
    study.posterior()
    print(study.report(["total variation", "non-local means", "posterior mean"]))


if __name__ == "__main__":
    main()
