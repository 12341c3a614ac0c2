"""Batches as a function of (seed, step): what comes next never depends on what came before.

Epoch e visits the data in the permutation named (seed, e); item i of the global batch of step s is number
s * batch + i of that endless list. So resuming in mid-epoch, or sharing the batch among processes, changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from perrin.contracts import AugmentsStates, Batch, Codec, Dataset, Item
from perrin.learn.denoising import stratified
from perrin.process.state import Masks, entries, map_leaves, single
from perrin.sample.noise import seed_of, seed_tensor, uniforms

CACHE_BYTES = 2**30


@dataclass(frozen=True)
class Portion:
    """One process's part of a global batch: states, condition, per-item seeds and u, names of the items."""

    batch: Batch
    seeds: Tensor
    u: Tensor
    indices: list[int]


class Batches:
    """Reads, encodes and prefetches; `batches(step)` is this process's part of the batch of that step.

    States are kept in memory where they fit and augmentation, if any, acts on states; otherwise items are read and
    encoded by threads, one step ahead.
    """

    def __init__(
        self,
        dataset: Dataset,
        codec: Codec,
        size: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        workers: int = 2,
    ) -> None:
        self.dataset, self.codec, self.size, self.seed = dataset, codec, size, seed
        share = size // world
        self.mine = range(rank * share, (rank + 1) * share)
        self.pool = ThreadPoolExecutor(max(1, workers))
        self.ahead: tuple[int, Future[Portion]] | None = None
        self.reader = ThreadPoolExecutor(1)
        self.orders: dict[int, np.ndarray] = {}
        self.turning = codec if isinstance(codec, AugmentsStates) and codec.augments_states else None
        self.cache = self._load() if self._fits() else None

    def _fits(self) -> bool:
        fixed = not self.codec.augments or self.turning is not None
        return fixed and 4 * entries(self.codec.shape) * len(self.dataset) <= CACHE_BYTES

    def _load(self) -> Batch:
        parts = []
        for start in range(0, len(self.dataset), 1024):
            items = self._read(range(start, min(start + 1024, len(self.dataset))))
            parts.append(self.codec.encode(items))
        names = parts[0].condition or {}
        condition = {n: torch.cat([(p.condition or {})[n] for p in parts]) for n in names} or None
        facts = [p.masks for p in parts if p.masks is not None]
        state = map_leaves(lambda *v: torch.cat(v), *(p.state for p in parts))
        return Batch(state, condition, Masks.joined(facts) if facts else None)

    def _read(self, indices: Sequence[int]) -> list[Item]:
        return list(self.pool.map(self.dataset.__getitem__, indices))

    def indices(self, step: int) -> list[int]:
        """The dataset's indices of this process's part of the batch of `step` (0, 1, ...)."""
        count = len(self.dataset)
        places = [step * self.size + i for i in self.mine]
        return [int(self._order(p // count)[p % count]) for p in places]

    def _order(self, epoch: int) -> np.ndarray:
        if epoch not in self.orders:
            seed = seed_of((self.seed, epoch), "", "order") % 2**63
            self.orders = {e: o for e, o in self.orders.items() if e >= epoch - 1}
            self.orders[epoch] = np.random.Generator(np.random.PCG64(seed)).permutation(len(self.dataset))
        return self.orders[epoch]

    def __call__(self, step: int) -> Portion:
        if self.cache is not None:
            return self._portion(step)
        if self.ahead is not None and self.ahead[0] == step:
            portion = self.ahead[1].result()
        else:
            portion = self._portion(step)
        self.ahead = (step + 1, self.reader.submit(self._portion, step + 1))
        return portion

    def _portion(self, step: int) -> Portion:
        indices = self.indices(step)
        seeds = [seed_of((self.seed, step), "", "item", i) for i in self.mine]
        shift = uniforms(seed_tensor([seed_of((self.seed, step), "", "law")]), 1)[0, 0]
        u = stratified(shift, torch.tensor(list(self.mine)), self.size)
        if self.cache is not None:
            rows = torch.tensor(indices)
            # whole rows at a time: several times faster than indexing
            batch = mapped(self.cache, lambda v: v.index_select(0, rows))
            if self.codec.augments and self.turning is not None:
                turned = self.turning.augmented(single(batch.state), self._augmentation(step))
                batch = batch._replace(state=turned)
        else:
            batch = self.codec.encode(self._read(indices), self._augmentation(step))
        return Portion(batch, seed_tensor(seeds), u, indices)

    def _augmentation(self, step: int) -> list[int]:
        return [seed_of((self.seed, step), "", "augment", i) for i in self.mine]

    def close(self) -> None:
        """Stop the threads."""
        self.reader.shutdown(wait=True, cancel_futures=True)
        self.pool.shutdown(wait=True, cancel_futures=True)


def mapped(batch: Batch, function: Callable[[Tensor], Tensor]) -> Batch:
    """The batch with `function` applied to every tensor of it."""
    condition = {n: function(v) for n, v in (batch.condition or {}).items()} or None
    masks = None if batch.masks is None else batch.masks.map(function)
    return Batch(map_leaves(function, batch.state), condition, masks)


def uploaded(value: Tensor, device: str) -> Tensor:
    """A tensor on a device; to a GPU from page-locked memory, which a running step does not hold up."""
    if not device.startswith("cuda") or value.is_cuda:
        return value.to(device)
    return value.pin_memory().to(device, non_blocking=True)
