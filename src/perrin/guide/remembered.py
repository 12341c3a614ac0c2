r"""Predictions remembered: what a denoiser said of a state is not asked again while the state stays the same.

A masked process's posterior depends on the known tokens alone and not on the level (Ou et al. 2024), so with more steps
than tokens most steps need no network (Sahoo et al. 2024, "caching").
"""

from __future__ import annotations

import torch
from torch import Tensor

from perrin.denoise.prediction import Condition, Denoiser, Prediction
from perrin.errors import PerrinError
from perrin.guide.wrapper import ITEM, Guide
from perrin.guide.wrapper import timeless as says_timeless
from perrin.process.state import State


class Remembered(Guide):
    """A denoiser that evaluates the rows whose tokens have changed since its last call, and no others.

    Args:
        denoiser: of tokens, a function of tokens and condition alone, as its `timeless` says.
        timeless: goes before that, for a denoiser that does not say.

    The condition's entry "item" int64 [B] says which sample each row is; rows may leave, join and change places between
    calls. Guidance calls a sample's unconditional row by `~item`. Only the last call is remembered. Use one of these
    for each run: it does not notice that a network's weights have changed.

    Attributes:
        calls: of the wrapped denoiser; rows: that it evaluated.

    Raises:
        PerrinError: a denoiser that depends on the level; rows without a name, or two of one; a derivative asked for.
    """

    def __init__(self, denoiser: Denoiser, *, timeless: bool | None = None) -> None:
        super().__init__(denoiser)
        if not (says_timeless(denoiser) if timeless is None else timeless):
            raise PerrinError(
                "predictions can be remembered of a masked process and a network that is not told the level (timed=False); "
                "this denoiser depends on the level"
            )
        self.calls = self.rows = 0
        self._seen: dict[str, Tensor] = {}  # of the last call: tokens, condition, and what was said of them
        self._places: dict[int, int] = {}

    @property
    def timeless(self) -> bool:
        return True

    def forward(self, x: State, level: Tensor, condition: Condition = None) -> Prediction:
        """The prediction at tokens x [B, ...], `condition["item"]` [B]."""
        if not isinstance(x, Tensor) or x.is_floating_point():
            raise PerrinError("predictions are remembered of one tensor of tokens")
        given = dict(condition or {})
        places, item = self._named(given.pop(ITEM, None), len(x))
        told = {"x": x, **{f"condition {name}": v for name, v in given.items()}}
        fresh = self._changed(told, places)
        rows = torch.nonzero(fresh).flatten()
        found = {}
        if len(rows):
            every = len(rows) == len(x)
            asked = {n: v if every else v[rows.to(v.device)] for n, v in given.items()} or None
            found = self._ask(x if every else x[rows], level if every else level[rows], asked)
            if not every:
                found = {n: self._old(n, v, places).index_copy(0, rows, v) for n, v in found.items()}
        else:
            found = {n: self._old(n, v, places) for n, v in self._seen.items() if n in ("mean", "logits")}
        self._seen, self._places = told | found, {name: i for i, name in enumerate(item)}
        return Prediction(found["mean"], logits=found.get("logits"))

    def _named(self, item: Tensor | None, count: int) -> tuple[Tensor, list[int]]:
        """Where each row lay in the last call (-1: nowhere), and the rows' names."""
        if item is None:
            raise PerrinError(
                f"a memory of predictions must know which sample each row is: give condition[{ITEM!r}], int64 [B]"
            )
        names: list[int] = item.tolist()
        if len(set(names)) < count:
            raise PerrinError(
                f"condition[{ITEM!r}] names a sample twice in one batch: {sorted(names)[:6]} ..."
            )
        return torch.tensor([self._places.get(name, -1) for name in names]), names

    def _changed(self, told: dict[str, Tensor], places: Tensor) -> Tensor:
        """Rows [B] of which the last call says nothing."""
        x = told["x"]
        places = places.to(x.device)
        if told.keys() != self._seen.keys() - {"mean", "logits"}:
            return torch.ones_like(places, dtype=torch.bool)
        changed = places < 0
        for name, value in told.items():
            old = self._seen[name]
            if old.shape[1:] != value.shape[1:] or old.device != value.device:
                return torch.ones_like(changed)
            old = old[places.clamp(min=0).to(old.device)]
            same = (old == value) | ((old != old) & (value != value))  # NaN says that nothing is given
            changed = changed | ~same.reshape(len(same), -1).all(1).to(x.device)
        return changed

    def _ask(self, x: Tensor, level: Tensor, condition: Condition) -> dict[str, Tensor]:
        found = self.denoiser(x, level, condition)
        self.calls, self.rows = self.calls + 1, self.rows + len(x)
        parts = {"mean": found.mean} if found.logits is None else {"mean": found.mean, "logits": found.logits}
        if any(v.requires_grad for v in parts.values() if isinstance(v, Tensor)):
            raise PerrinError("a remembered prediction has no derivative; use the denoiser without a memory")
        return {name: v for name, v in parts.items() if isinstance(v, Tensor)}

    def _old(self, name: str, like: Tensor, places: Tensor) -> Tensor:
        """What the last call held of the rows; those that it did not know are to be overwritten."""
        if name not in self._seen:
            return like.new_zeros(len(places), *like.shape[1:])
        return self._seen[name].to(like.dtype)[places.clamp(min=0).to(like.device)]
