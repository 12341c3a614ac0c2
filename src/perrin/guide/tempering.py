r"""Tempered tokens: sharper or flatter predictions, and only the likeliest tokens of each position.

    log p_T = log p / T + constant

    top_k  the k likeliest tokens stay (Fan et al. 2018)
    top_p  the likeliest tokens stay whose probabilities together reach p, the "nucleus" (Holtzman et al. 2020)

in this order. What has probability zero keeps it, and so a token that is known stays known.
"""

from __future__ import annotations

import torch
from torch import Tensor

from perrin.denoise.prediction import Condition, Denoiser, Prediction
from perrin.denoise.tokens import NEVER
from perrin.errors import PerrinError
from perrin.guide.wrapper import Guide, timeless
from perrin.process.state import State, leaves, like


class Tempered(Guide):
    """The predictions of tokens at another temperature, cut to the likeliest.

    Args:
        denoiser: of tokens; continuous leaves beside them are left alone.
        temperature: T > 0; below one samples are surer and less diverse.
        top_p: in (0, 1], the mass of the likeliest tokens that stay; 1: all.
        top_k: how many of the likeliest tokens stay; None: all.

    Samples are then from another law than the model's own: look at their entropy beside their likelihood.
    """

    def __init__(
        self, denoiser: Denoiser, temperature: float = 1.0, *, top_p: float = 1.0, top_k: int | None = None
    ) -> None:
        super().__init__(denoiser)
        if not 0 < temperature < torch.inf:
            raise PerrinError(
                f"temperature = {temperature} must be above 0; top_k=1 takes the likeliest token"
            )
        if not 0 < top_p <= 1:
            raise PerrinError(f"top_p = {top_p} must lie in (0, 1]")
        if top_k is not None and (isinstance(top_k, bool) or not isinstance(top_k, int) or top_k < 1):
            raise PerrinError(f"top_k = {top_k!r} must be a whole number of at least 1, or None")
        self.temperature, self.top_p, self.top_k = temperature, top_p, top_k

    @property
    def timeless(self) -> bool:
        return timeless(self.denoiser)

    def forward(self, x: State, level: Tensor, condition: Condition = None) -> Prediction:
        """The tempered prediction at tokens x [B, ...], level [B]."""
        found = self.denoiser(x, level, condition)
        if self.temperature == self.top_p == 1 and self.top_k is None:
            return found
        means, logs = dict(leaves(found.mean)), leaves(found.log_mean())
        tokens = [name for name, value in leaves(x).items() if not value.is_floating_point()]
        logits = {name: self._tempered(logs[name], means[name]) for name in tokens}
        means |= {name: torch.softmax(value, -1) for name, value in logits.items()}
        return Prediction(like(means, x), found.noise, found.variance, like(logits, x))

    def _tempered(self, log_mean: Tensor, mean: Tensor) -> Tensor:
        logits = torch.where(mean > 0, log_mean / self.temperature, NEVER)
        if self.top_k is not None and self.top_k < logits.shape[-1]:
            places = logits.topk(self.top_k, -1).indices
            logits = torch.full_like(logits, NEVER).scatter(-1, places, logits.gather(-1, places))
        if self.top_p < 1:
            sorted_logits, places = logits.sort(stable=True, dim=-1, descending=True)
            share = torch.softmax(sorted_logits.to(torch.float64), -1)
            before = share.cumsum(-1) - share  # the likeliest has nothing before it and always stays
            cut = sorted_logits.masked_fill(before >= self.top_p, NEVER)
            logits = torch.empty_like(logits).scatter(-1, places, cut)
        return logits
