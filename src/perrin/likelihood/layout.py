"""How the free entries of a batch lie in vectors: without gaps, so that an exact divergence costs a pass for each."""

from __future__ import annotations

import torch
from torch import Tensor

from perrin.errors import PerrinError
from perrin.likelihood.given import Free, counts, filled, free
from perrin.process.state import Masks, State, batch_size, leaves, like


class Layout:
    """States <-> vectors float64 [B, d] of their free entries: leaves in the order of their names, flattened.

    Args:
        clean: the states of a batch; their names, shapes and what is not free are read.
        masks: which entries there are, and which are given (`given.checked`).

    Attributes:
        entries: d, the free entries of the item that has the most; zeros follow where an item has fewer.
        counts: how many each item has, [B] float64.
    """

    def __init__(self, clean: State, masks: Masks | None = None) -> None:
        self.clean, self.masks = clean, masks or Masks()
        self.counts = counts(clean, self.masks)
        self.whole = sum(leaf[0].numel() for leaf in leaves(clean).values())
        which = free(clean, self.masks)
        self._place = None if all(mask is None for mask in which.values()) else self._places(which)
        self.entries = self.whole if self._place is None else self._place.shape[1]

    def _places(self, which: Free) -> Tensor:
        """int64 [B, d]: where in all numbers of an item its free ones are; after the last where there is none."""
        flat = []
        for name, leaf in leaves(self.clean).items():
            own = which[name]
            flat.append(torch.ones_like(leaf, dtype=torch.bool) if own is None else own.expand(leaf.shape))
        mask = torch.cat([part.flatten(1) for part in flat], 1)
        longest = max(1, int(self.counts.max()))  # a vector of no entries would have no slope
        place = torch.argsort((~mask).to(torch.int8), dim=1, stable=True)[:, :longest]
        return torch.where(mask.gather(1, place), place, self.whole)

    def some(self, columns: Tensor) -> Tensor:
        """Of numbers [B, ..., all] of whole items those at the free entries, [B, ..., d]; zeros where there is none."""
        if self._place is None:
            return columns
        return self._chosen(columns, self._place)

    def flatten(self, state: State, items: Tensor | None = None) -> Tensor:
        """The free entries of states of some items, by default of all, float64 [b, d].

        Raises:
            PerrinError: other leaves or shapes than the batch's, or other items.
        """
        found, right = _shapes(state), _shapes(self.clean)
        if found != right:
            raise PerrinError(f"states of {_said(right)} do not match the denoiser's, {_said(found)}")
        rows = batch_size(self.clean) if items is None else len(items)
        if batch_size(state) != rows:
            raise PerrinError(f"the denoiser gave {batch_size(state)} means for {rows} states")
        columns = torch.cat([leaf.to(torch.float64).flatten(1) for leaf in leaves(state).values()], 1)
        if self._place is None:
            return columns
        return self._chosen(columns, self._place if items is None else self._place[items])

    def restore(self, vectors: Tensor, level: Tensor | None = None, items: Tensor | None = None) -> State:
        """[b, d] -> states of some items as a denoiser is shown them at `level` [b]; differentiable.

        Without a level what is not free stays as it is in the clean states.
        """
        clean, masks = self.clean, self.masks
        if self._place is None:
            return self._parted(vectors)
        place = self._place
        if items is not None:
            clean = like({n: v[items] for n, v in leaves(clean).items()}, clean)
            masks, place = masks.map(lambda mask: mask[items]), place[items]
        columns = vectors.new_zeros(len(vectors), self.whole + 1).scatter(1, place, vectors)
        return filled(self._parted(columns[:, :-1]), clean, level, masks)

    def _chosen(self, columns: Tensor, place: Tensor) -> Tensor:
        padded = torch.cat([columns, torch.zeros_like(columns[..., :1])], -1)
        while place.dim() < padded.dim():
            place = place[:, None]
        return padded.gather(-1, place.expand(*padded.shape[:-1], place.shape[-1]))

    def _parted(self, columns: Tensor) -> State:
        parts = leaves(self.clean)
        pieces = torch.split(columns, [leaf[0].numel() for leaf in parts.values()], 1)
        shaped = zip(parts.items(), pieces, strict=True)
        return like({n: piece.reshape(-1, *leaf.shape[1:]) for (n, leaf), piece in shaped}, self.clean)


def _shapes(state: State) -> dict[str, tuple[int, ...]]:
    return {name: tuple(leaf.shape[1:]) for name, leaf in leaves(state).items()}


def _said(shapes: dict[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {shape}".strip() for name, shape in shapes.items())
