"""The feature extractor for a training set, trained once per content: data, settings and seed name the file.

The folder is `PERRIN_CACHE`, or `~/.cache/perrin`. A file that is cut short or altered is trained again; a
folder that cannot be written costs only the time.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from pathlib import Path
from typing import Protocol

from safetensors import SafetensorError, safe_open
from torch import Tensor

from perrin.errors import PerrinError
from perrin.evaluate.feature_classifier import FEATURES, SETTINGS, FeatureClassifier, train_classifier
from perrin.evaluate.principal_components import PrincipalComponents
from perrin.saving import cache_folder, save_tensors

FORMAT = 1  # raise it when the network or its training changes, so that old files are not taken for new ones


class Features(Protocol):
    """States -> features, and classes where they are known."""

    description: str

    def features(self, states: Tensor) -> Tensor:
        """[N, *shape] -> [N, F] float32."""

    def predict(self, states: Tensor) -> Tensor | None:
        """[N, *shape] -> class [N] int64, or None without labels."""


def _digest(*tensors: Tensor, settings: dict[str, object]) -> str:
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for tensor in tensors:
        digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().contiguous().cpu().numpy().data)
    return digest.hexdigest()


def _checksum(weights: dict[str, Tensor]) -> str:
    return _digest(*(weights[name] for name in sorted(weights)), settings={"names": sorted(weights)})


def _read(path: Path, net: FeatureClassifier) -> bool:
    """Fill `net` from `path`; False for a file that is absent, cut short, altered or of another network."""
    try:
        with safe_open(path, framework="pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a dict)
            if (file.metadata() or {}).get("sha256") != _checksum(weights):
                return False
        net.load_state_dict(weights)
    except (OSError, SafetensorError, RuntimeError):
        return False
    net.eval().requires_grad_(False)
    return True


def _write(path: Path, net: FeatureClassifier) -> None:
    weights = net.state_dict()
    try:
        save_tensors(path, weights, {"sha256": _checksum(weights), "made_by": "perrin.evaluate"})
    except PerrinError as error:  # a cache that cannot be kept costs time only
        warnings.warn(f"the feature classifier could not be kept: {error}", stacklevel=3)


def feature_extractor(
    states: Tensor, labels: Tensor | None, *, seed: int = 0, folder: Path | None = None
) -> Features:
    """The extractor for real training data: a classifier, or principal components without labels.

    Args:
        states: [N, *shape] real training states.
        labels: [N] int64 in 0 .. classes - 1, or None.
        seed: of the classifier's weights and order of items.
        folder: where to keep it; `cache_folder()` by default.
    Raises:
        PerrinError: no states, or labels that do not match them.
    """
    if labels is None:
        return PrincipalComponents(states, seed)
    settings: dict[str, object] = {**SETTINGS, "features": FEATURES, "format": FORMAT, "seed": seed}
    key = _digest(states, labels, settings=settings)
    path = (folder or cache_folder()) / f"features-{key[:32]}.safetensors"
    if len(labels) and path.is_file():
        net = FeatureClassifier(tuple(states.shape[1:]), int(labels.max()) + 1)
        if _read(path, net):
            return net
    net = train_classifier(states, labels, seed=seed)
    _write(path, net)
    return net
