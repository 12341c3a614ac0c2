"""How likely a model finds data in the user's own units: codec, dequantisation and likelihood put together.

    continuous data   log p(value) = log p(state) + log |d state / d value|          a density
    integer data      log P(value), by the bound's own last factor or by dequantisation      a probability
    texts             log P(text), by the bound of every passage (`passages`)                a probability

A probability of whole numbers needs no Jacobian: a bin has the same mass in any units.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import torch
from torch import Tensor

from perrin.contracts import Batch, Codec, Item
from perrin.errors import PerrinError
from perrin.likelihood import Dequantiser, LogProb, bound, dequantised, join, log_prob
from perrin.passages import token_log_prob
from perrin.process.schedulebook.table import Discrete
from perrin.process.state import batch_size, single
from perrin.registry import schedules
from perrin.sample.noise import Key

if TYPE_CHECKING:
    from perrin.model import Model

Method = Literal["ode", "bound"]
EXACT = 32
"""Entries of a state up to which the divergence is exact by default: it costs a reverse pass for each."""
LARGE: dict[str, Any] = {"divergence": "rademacher", "probes": 2, "tolerance": 1e-4}
"""Defaults for larger states, whose probes average over many entries; the looser steps move MNIST by 1e-3 bits."""
EVALUATED_AT_A_TIME = 100_000
"""Default size of a chunk of items: so many numbers of state, and at most 128 items."""


def data_log_prob(
    model: Model,
    data: Any,
    method: Method | None,
    label: Any,
    seed: int,
    dequantise: Literal["uniform"] | Dequantiser | None,
    draws: int,
    batch: int | None,
    progress: Callable[[int], None] | None,
    options: dict[str, Any],
) -> LogProb:
    """See `Model.log_prob`, which says what is meant where nothing is said."""
    if method not in (None, "ode", "bound"):
        raise PerrinError(f"method {method!r} is not known; known: ode, bound")
    process = model.design.categorical
    if process is not None:
        if method == "ode" or dequantise is not None:
            raise PerrinError("the likelihood of tokens is known by its bound alone: method='bound'")
        items = as_items(data)
        _check_labels(label, items)

        def conditioned(rows: Sequence[int]) -> dict[str, Tensor] | None:
            if not model.codec.classes:  # nor need the texts be encoded again
                return _condition(model, Batch(torch.empty(len(rows)), None), label)
            chosen = label if isinstance(label, str | int) else [label[i] for i in rows]
            return _condition(model, model.codec.encode([items[i] for i in rows]), chosen)

        return token_log_prob(model, process, items, conditioned, seed, batch, progress, **options)
    method = method or "ode"
    lattice = model.codec.lattice
    if dequantise is not None and lattice is None:
        raise PerrinError(
            "dequantise is for integer data, and this model's are continuous: their log-density needs none"
        )
    estimate = _estimate(model, method, dequantise, draws, options)
    size = batch or max(
        1, min(128, EVALUATED_AT_A_TIME // math.prod(single(model.codec.shape, "a likelihood")))
    )
    found = []
    for first, encoded in _batches(model, data, label, size):
        keys: list[Key] = [(seed, first + i) for i in range(batch_size(encoded.state))]
        found.append(estimate(single(encoded.state), encoded.condition, keys))
        if progress is not None:
            progress(len(keys))
    if not found:
        raise PerrinError("there are no data")
    result = join(found)
    return result if lattice is not None else result.plus("codec", model.codec.log_det())


Estimate = Callable[[Tensor, dict[str, Tensor] | None, list[Key]], LogProb]


def _estimate(model: Model, method: Method, dequantise: Any, draws: int, options: dict[str, Any]) -> Estimate:
    """The log-probability of encoded states by the method, with what the model implies where nothing is said."""
    denoiser, lattice = model.denoiser, model.codec.lattice
    measure: Callable[..., LogProb]
    if method == "bound":
        schedule = schedules.build(model.sampling.schedule)
        if isinstance(schedule, Discrete):  # a discrete-time model has the likelihood of its chain
            chain = schedule.levels.flip(0)
            options = {"levels": chain, "reconstruction": "discretised" if lattice else None} | options
        if dequantise is None:
            return lambda x, condition, keys: bound(
                denoiser, x, seeds=keys, condition=condition, lattice=lattice, **options
            )
        measure = partial(bound, denoiser, **options)
    else:
        implied: dict[str, Any] = (
            {} if math.prod(single(model.codec.shape, "a likelihood")) <= EXACT else LARGE
        )
        measure = partial(cast("Callable[..., LogProb]", log_prob), denoiser, **implied | options)
        if lattice is None:
            return lambda x, condition, keys: measure(x, seeds=keys, condition=condition)
    law = {} if dequantise in (None, "uniform") else {"law": dequantise}
    return lambda x, condition, keys: dequantised(
        partial(measure, condition=condition), x, lattice, draws=draws, seeds=keys, **law
    )


def _batches(model: Model, data: Any, label: Any, size: int) -> Iterator[tuple[int, Batch]]:
    """(index of the first item, states and condition on the model's device), `size` at a time."""
    items = as_items(data)
    device = next(model.module.parameters()).device
    _check_labels(label, items)
    for first in range(0, len(items), size):
        part = [items[i] for i in range(first, min(first + size, len(items)))]
        encoded = encode_unchanged(model.codec, part)
        chosen = label if isinstance(label, str | int) else list(label)[first : first + size]
        condition = _condition(model, encoded, chosen)
        moved = None if condition is None else {n: v.to(device) for n, v in condition.items()}
        yield first, Batch(single(encoded.state).to(device), moved)


def _check_labels(label: Any, items: Sequence[Item]) -> None:
    if not isinstance(label, str | int) and len(label) != len(items):
        raise PerrinError(f"{len(label)} labels for {len(items)} items; give one, or one each")


def as_items(data: Any) -> Sequence[Item]:
    """A dataset as it is; plain values as items without labels."""
    if hasattr(data, "split") and hasattr(data, "classes"):
        return cast("Sequence[Item]", data)
    if isinstance(data, str):
        raise PerrinError(
            f"give values or a dataset, not the text or path {data!r}; perrin likelihood MODEL DATA reads files"
        )
    values = [value if isinstance(value, str) else np.asarray(value) for value in data]
    return [{"value": v, "label": None, "name": f"item {i}"} for i, v in enumerate(values)]


def encode_unchanged(codec: Codec, items: Sequence[Item]) -> Batch:
    """`codec.encode`, but an item that it would resize is refused: a resized item has another likelihood and code.

    Raises:
        PerrinError: another shape than the model's data.
    """
    encoded = codec.encode(items)
    for item, decoded in zip(items, codec.decode(encoded.state), strict=True):
        if item["value"].shape not in (decoded.shape, (*decoded.shape, 1)):
            raise PerrinError(
                f"{item['name']} has shape {item['value'].shape}, and the model's data have {decoded.shape}; bring it "
                "to that shape first: a resized item is another item"
            )
    return encoded


def _condition(model: Model, encoded: Batch, label: Any) -> dict[str, Tensor] | None:
    """Labels of the data, none, or the ones asked for; a model without classes has no condition."""
    if not model.codec.classes:
        if label not in ("own", "none"):
            raise PerrinError("this model was trained without classes; it takes no label")
        return None
    count = len(encoded.state)
    if isinstance(label, str) and label == "own":
        own = (encoded.condition or {}).get("label")
        return {"label": torch.full((count,), -1) if own is None else own}
    chosen = label if isinstance(label, list) else [label] * count
    return {"label": torch.tensor([model.label(name) for name in chosen])}
