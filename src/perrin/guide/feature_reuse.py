r"""Reuse of deep features between evaluations, without training (DeepCache; Ma et al. 2023, arXiv:2312.00858).

Along a sampling path the lower resolutions of a U-Net change slowly. Every k-th evaluation of a sample runs the whole
network; those between take what the lower resolutions said last and run the highest ones alone, which see the present
state, level and condition.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from perrin.denoise.prediction import Condition, Prediction
from perrin.denoise.wrapped import Wrapped
from perrin.errors import PerrinError
from perrin.guide.wrapper import ITEM, Guide
from perrin.nets.conv_unet import DeepFeature
from perrin.process.state import State


@dataclass
class _Kept:
    """What a sample's last whole evaluation left: its feature, evaluations since, the level of the latest."""

    feature: Tensor
    age: int
    level: float


class FeatureReuse(Guide):
    """A network's denoiser that runs its lower resolutions at every `every`-th evaluation of a sample only.

    Args:
        denoiser: of a network that keeps deep features, a `unet` of two resolutions or more; guidance goes around it.
        every: k; 1 always runs the whole network.
        resolutions: how many of the highest resolutions every evaluation runs.

    The condition's entry "item" int64 [B] says which sample each row is. A feature is kept under that name, so that
    rows may leave, join and change places between calls; guidance calls a sample's unconditional row by `~item`. A
    sample whose level has not risen since its last evaluation starts anew. Use one of these for each run.

    Raises:
        PerrinError: a network without deep features; rows without a name, or two of one; a derivative asked for.
    """

    def __init__(self, denoiser: Wrapped, every: int = 2, *, resolutions: int = 1) -> None:
        super().__init__(denoiser)
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:
            raise PerrinError(f"reuse = {every!r} must be a whole number of evaluations, at least 1")
        lower = getattr(getattr(denoiser, "net", None), "lower_resolutions", 0)
        if not isinstance(denoiser, Wrapped) or not lower:
            raise PerrinError(
                "reuse of deep features needs the denoiser of a unet of Perrin's own of two resolutions or more, and "
                "guidance goes around it; leave reuse out"
            )
        if not 1 <= resolutions <= lower:
            raise PerrinError(f"resolutions = {resolutions} must lie between 1 and {lower} for this network")
        self.every = every
        self._network = _Remembering(denoiser.net, resolutions)
        self._whole = Wrapped(self._network, denoiser.parameterisation)
        self._kept: dict[int, _Kept] = {}

    def forward(self, x: State, level: Tensor, condition: Condition = None) -> Prediction:
        """The prediction at x [B, ...], level [B], `condition["item"]` [B]."""
        assert isinstance(x, Tensor)  # of a unet
        given = dict(condition or {})
        names = _names(given.pop(ITEM, None), x)
        levels = level.tolist()
        found = [self._find(name, at) for name, at in zip(names, levels, strict=True)]
        groups = [[i for i, f in enumerate(found) if (f is None) == whole] for whole in (True, False)]
        parts = []
        for rows in filter(None, groups):
            held = [f.feature for i in rows if (f := found[i]) is not None]
            prediction, features = self._evaluate(x, level, given, rows, torch.stack(held) if held else None)
            parts.append((rows, prediction))
            for place, i in enumerate(rows):
                age = 0 if (f := found[i]) is None else f.age + 1
                self._kept[names[i]] = _Kept(features[place], age, levels[i])
        return parts[0][1] if len(parts) == 1 else _joined(parts, x)

    def _find(self, name: int, level: float) -> _Kept | None:
        """What may be reused for a sample at that level."""
        kept = self._kept.get(name)
        return kept if kept is not None and kept.age < self.every - 1 and level > kept.level else None

    def _evaluate(
        self, x: Tensor, level: Tensor, given: dict[str, Tensor], rows: list[int], feature: Tensor | None
    ) -> tuple[Prediction, Tensor]:
        """The prediction for some rows, and the deep features it used."""
        deep = self._network.deep
        deep.value = feature
        if len(rows) < len(x):
            chosen = torch.tensor(rows, device=x.device)
            x, level = x[chosen], level[chosen]
            given = {n: v[chosen.to(v.device)] for n, v in given.items()}
        prediction = self._whole(x, level, given or None)
        assert deep.value is not None
        used, deep.value = deep.value, None
        return prediction, used


class _Remembering(nn.Module):
    """A network that is always given a place for its deep feature."""

    def __init__(self, net: nn.Module, resolutions: int) -> None:
        super().__init__()
        self.net, self.deep = net, DeepFeature(resolutions)
        self.takes_until = getattr(net, "takes_until", False)

    def forward(self, x: Tensor, time: Tensor, condition: Condition) -> Tensor:
        found: Tensor = self.net(x, time, condition, self.deep)
        return found


def _names(item: Tensor | None, x: Tensor) -> list[int]:
    if item is None:
        raise PerrinError(
            f"reuse of deep features must know which sample each row is: give condition[{ITEM!r}], int64 [B]"
        )
    tangent = forward_ad.unpack_dual(x).tangent  # type: ignore[no-untyped-call]
    if (torch.is_grad_enabled() and x.requires_grad) or tangent is not None:
        raise PerrinError(
            "a prediction from reused features has no derivative; use the denoiser without reuse"
        )
    names: list[int] = item.tolist()
    if len(set(names)) < len(names):
        raise PerrinError(f"condition[{ITEM!r}] names a sample twice in one batch: {sorted(names)[:6]} ...")
    return names


def _joined(parts: list[tuple[list[int], Prediction]], x: Tensor) -> Prediction:
    """Predictions of some rows each as one of all."""

    def join(values: list[Any]) -> Tensor | None:
        if values[0] is None:
            return None
        rows = torch.tensor([i for chosen, _ in parts for i in chosen], device=x.device)
        return torch.cat(values)[torch.argsort(rows)]

    means = join([p.mean for _, p in parts])
    assert means is not None
    return Prediction(means, join([p.noise for _, p in parts]), join([p.variance for _, p in parts]))
