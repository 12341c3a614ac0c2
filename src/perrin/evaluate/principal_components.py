"""Features without labels: the first principal components of the training states.

    features = (state - mean) V,    V the leading right singular vectors of the centred training states

A linear view: it sees layout, colour and scale, not meaning. Honest for points, series and the like; on
pictures read the figures beside their ceilings only.
"""

from __future__ import annotations

import torch
from torch import Tensor

from perrin.errors import PerrinError

COMPONENTS = 64
ENOUGH = 10_000  # training states that settle the components


class PrincipalComponents:
    """Principal components of `states` [N, *shape]; deterministic for a seed.

    Raises:
        PerrinError: fewer than two states.
    """

    def __init__(self, states: Tensor, seed: int = 0) -> None:
        if len(states) < 2:
            raise PerrinError(f"{len(states)} training states; principal components need at least 2")
        from sklearn.decomposition import PCA  # a second of import that labelled data never need

        rows = torch.randperm(len(states), generator=torch.Generator().manual_seed(seed))[:ENOUGH]
        points = states[rows].flatten(1).double().numpy()
        count = min(COMPONENTS, *points.shape)
        solver = "full" if count == points.shape[1] else "auto"
        self._pca = PCA(count, svd_solver=solver, random_state=seed).fit(points)
        self.description = f"first {count} principal components of the training states (there are no labels)"

    def features(self, states: Tensor) -> Tensor:
        """[N, *shape] -> [N, F] float32."""
        parts = [self._pca.transform(part.flatten(1).double().numpy()) for part in states.split(1024)]
        return torch.cat([torch.from_numpy(part).float() for part in parts])

    def predict(self, states: Tensor) -> None:
        """There are no classes."""
