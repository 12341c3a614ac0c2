r"""A denoiser of tokens: a network's logits as the probabilities of every clean token.

masked   a token that is not masked is known, so its probabilities are one-hot; the network never says "mask" (Sahoo et
         al. 2024, "SUBS"). The posterior does not depend on the level (Ou et al. 2024), so neither does the network's
         answer where it is not told the time.
uniform  any token may have been replaced; the network is told the level. What a position's own token says of it is
         known, q(x | clean) = a [x = clean] + (1 - a) / K, so the logit of that token gets log(1 + K a / (1 - a)), and
         the network says what all others tell. Near the clean end no network could say it: the bound would diverge.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from perrin.denoise.adapter import Adapter, Function
from perrin.denoise.parameterisation import noise_time
from perrin.denoise.prediction import Condition, Prediction
from perrin.errors import PerrinError
from perrin.process.categorical import Categorical, expand

NEVER = -1e4
"""The logit of what cannot be: its probability is zero, and differences of such logits are numbers still."""


class TokenDenoiser(Adapter):
    """`net(x, time, condition) -> logits [B, ..., K]` as a denoiser.

    Args:
        net: x int64 [B, ...] with tokens 0 .. K - 1, K for the mask and -1 where an item has no position; time [B]
            is -level / 8 as for other networks, and `net.timed = False` says that it is not used.
        process: what noise does to the tokens.
    """

    def __init__(self, net: nn.Module, process: Categorical) -> None:
        super().__init__(Function.of(net))
        self.process = process

    @property
    def timeless(self) -> bool:
        """Whether the prediction is a function of the state alone, so that a state that stays needs no new one."""
        return self.process.masks and getattr(self.net, "timed", True) is False

    def forward(self, x: Tensor, level: Tensor, condition: Condition = None) -> Prediction:
        """The prediction at tokens `x` [B, ...], `level` [B].

        Raises:
            PerrinError: a network that outputs something else than K logits for every token.
        """
        weight = next((p for p in self.net.parameters() if p.is_floating_point()), None)
        kind = torch.float32 if weight is None else torch.promote_types(weight.dtype, torch.float32)
        logits = self.net(x, noise_time(level.to(torch.float64)).to(x.device, kind), condition)
        found = posterior_logits(self.process, x, logits, level)
        return Prediction(torch.softmax(found, -1), logits=found)


def posterior_logits(process: Categorical, x: Tensor, logits: Tensor, level: Tensor) -> Tensor:
    """Logits of the clean tokens [B, ..., K] from a network's: with what a position's own token says of it.

    Raises:
        PerrinError: something else than K logits for every token.
    """
    classes = process.classes
    if logits.shape != (*x.shape, classes):
        raise PerrinError(
            f"a network of tokens must output {(*x.shape, classes)}, a logit for each; it outputs {tuple(logits.shape)}"
        )
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if process.masks:
        known = ((x >= 0) & (x < classes))[..., None]
        itself = torch.full_like(logits, NEVER).scatter_(-1, x.clamp(0, classes - 1)[..., None], 0.0)
        return torch.where(known, itself, logits)
    told = softplus(level.to(torch.float64) + math.log(classes)).clamp(max=-NEVER)
    told = torch.where(x >= 0, expand(told, logits, x.dim()), 0.0)
    return logits.scatter_add(-1, x.clamp(min=0)[..., None], told[..., None].to(logits.dtype))
