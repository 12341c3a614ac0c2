"""The schedule that a pretrained network was trained with, from the scheduler's configuration in its folder."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from perrin.errors import PerrinError

PREDICTIONS = {"epsilon": "noise", "v_prediction": "v", "sample": "clean"}


@dataclass(frozen=True)
class BySize:
    r"""A flow's shift that grows with the picture, since more pixels show more through the same noise (Esser et al. 2024).

        shift = exp(mu),    mu = base + (N - N_base) (most - base) / (N_most - N_base)    for N tokens

    Attributes:
        base, most: mu at so many tokens, `base_tokens` and `most_tokens`. linear: whether mu is the shift itself.
    """

    base: float = 0.5
    most: float = 1.15
    base_tokens: int = 256
    most_tokens: int = 4096
    linear: bool = False

    def shift(self, tokens: int) -> float:
        """Of a picture of so many tokens."""
        slope = (self.most - self.base) / (self.most_tokens - self.base_tokens)
        mu = self.base + slope * (tokens - self.base_tokens)
        return mu if self.linear else math.exp(mu)


@dataclass(frozen=True)
class Trained:
    """Whose levels, times and outputs a network knows.

    Attributes:
        schedule: a section of `registry.schedules`. parameterisation: its registry name.
        shift: of a flow: how far its sampling levels are moved towards noise. by_size: what says so in its place.
    """

    schedule: dict[str, Any]
    parameterisation: str
    shift: float = 1.0
    by_size: BySize | None = None


def trained(config: dict[str, Any]) -> Trained:
    """What a scheduler_config.json says.

    Raises:
        PerrinError: a table or a prediction that is not known.
    """
    name = str(config.get("_class_name", ""))
    if name.startswith("FlowMatch"):
        return Trained({"name": "flow"}, "flow_velocity", float(config.get("shift", 1.0)), _by_size(config))
    prediction = str(config.get("prediction_type", "epsilon"))
    if prediction not in PREDICTIONS:
        raise PerrinError(
            f"prediction_type {prediction!r} of {name} is not known; known: {', '.join(PREDICTIONS)}"
        )
    table = torch.cumprod(1 - _betas(config), 0)
    if config.get("rescale_betas_zero_snr"):
        table = _to_zero(table)
    return Trained({"name": "discrete", "alphas_cumprod": table.tolist()}, PREDICTIONS[prediction])


def _by_size(config: dict[str, Any]) -> BySize | None:
    if not config.get("use_dynamic_shifting"):
        return None
    names = {"base": "base_shift", "most": "max_shift", "base_tokens": "base_image_seq_len"}
    names["most_tokens"] = "max_image_seq_len"
    said = {ours: config[theirs] for ours, theirs in names.items() if config.get(theirs) is not None}
    return BySize(**said, linear=config.get("time_shift_type") == "linear")


def _betas(config: dict[str, Any]) -> Tensor:
    """float64 [T]."""
    if config.get("trained_betas") is not None:
        return torch.tensor(config["trained_betas"], dtype=torch.float64)
    count = int(config.get("num_train_timesteps", 1000))
    first, last = float(config.get("beta_start", 1e-4)), float(config.get("beta_end", 0.02))
    own = "squaredcos_cap_v2" if config.get("_class_name") == "UnCLIPScheduler" else "linear"
    kind = str(config.get("beta_schedule", own))
    if kind == "linear":
        return torch.linspace(first, last, count, dtype=torch.float64)
    if kind == "scaled_linear":
        return torch.linspace(first**0.5, last**0.5, count, dtype=torch.float64) ** 2
    if kind == "squaredcos_cap_v2":
        t = torch.arange(count + 1, dtype=torch.float64) / count
        bar = torch.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2
        return (1 - bar[1:] / bar[:-1]).clamp(max=0.999)
    raise PerrinError(f"beta_schedule {kind!r} is not known; known: linear, scaled_linear, squaredcos_cap_v2")


def _to_zero(table: Tensor) -> Tensor:
    """The table moved and stretched so that it ends in zero signal (Lin et al. 2024, algorithm 1)."""
    root = table.sqrt()
    root = (root - root[-1]) * root[0] / (root[0] - root[-1])
    return root**2
