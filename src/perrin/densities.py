"""How likely a model finds data in the user's own units: codec, dequantisation and likelihood put together.

    continuous data   log p(value) = log p(state) + log |d state / d value|          a density
    integer data      log P(value), by the bound's own last factor or by dequantisation      a probability
    texts             log P(text), by the bound of every passage (`passages`)                a probability
    windows           log p(drawn | given), every one with a Jacobian of its own             a density

A probability of whole numbers needs no Jacobian: a bin has the same mass in any units.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from torch import Tensor

from perrin.contracts import Batch, ScalesGiven
from perrin.encoded_items import Part, as_items, check_labels, condition_of, parts
from perrin.errors import PerrinError
from perrin.likelihood import Dequantiser, LogProb, bound, dequantised, join, log_prob
from perrin.passages import token_log_prob
from perrin.process.schedulebook.table import Discrete
from perrin.process.state import single
from perrin.registry import schedules

if TYPE_CHECKING:
    from perrin.model import Model

Method = Literal["ode", "bound"]
LARGE: dict[str, Any] = {"divergence": "rademacher", "probes": 2, "tolerance": 1e-4}
"""Defaults for larger states, whose probes average over many entries; the looser steps move MNIST by 1e-3 bits."""
WINDOWS: dict[str, Any] = {"divergence": "rademacher", "probes": 2}
STEPS: dict[str, Any] = {"steps": 6, "tolerance": 1e-2}
"""Defaults for windows, of which paths by the hundred are ranked.

Measured on 168 values (ETTh1, seven columns a day ahead; 644,000 parameters): .25 CPU-seconds a path, in place of .34 with
adaptive steps of tolerance 1e-3 and .46 with 1e-4, from which the values differ by .1 nats; the bound of 32 evaluations
takes .07. Paths of one history have the same probes, levels and noise: one path's error by two probes is 15 nats, that of
the difference of two 2 to 3 (by the bound 4 to 5), and paths differ by 22 to 27.
"""
SAMPLES = 64
"""Evaluations of a window's bound by default."""
EVALUATED_AT_A_TIME = 100_000
"""Default size of a chunk of items: so many numbers of state, and at most 128 items."""


def model_log_prob(
    model: Model,
    data: Any,
    *,
    method: Method | None = None,
    label: Any = "own",
    seed: int = 0,
    dequantise: Literal["uniform"] | Dequantiser | None = None,
    draws: int = 2,
    batch: int | None = None,
    progress: Callable[[int], None] | None = None,
    **options: Any,
) -> LogProb:
    """Log-likelihood of data in nats per item: a density in the user's units, or a probability of integers or texts.

    Args:
        data: a dataset of this model's kind, or a sequence of values [N, ...] as its codec decodes them. A window of a
            series has the log-density of what is not `given` of it, given the rest; one of data is a forecast of its
            last rows. Paths of one history have the same draws, so that their differences have little noise.
        method: 'ode', the probability flow, or 'bound', the variational bound: in discrete time where the
            model's own schedule is a chain. They are of two densities; for a trained model either may be larger.
            By default 'ode', and of texts, which have nothing else, 'bound'.
        label: 'own' (of the data; unlabelled items are unconditional), 'none', a class, or one for each item.
        seed: of the noise that estimates draw; an item's value is a function of (seed, its index), a window's of (seed,
            what is given of it).
        dequantise: of integer data: 'uniform' (what 'ode' does by default) or a fitted `Dequantiser`; by default
            'bound' has a factor for whole numbers of its own. draws: of that noise.
        batch: items at a time; progress: called with the number of items done since the last call.
        options: of `perrin.likelihood.log_prob` (divergence, probes, steps, tolerance, ...) or `bound` (samples, ...);
            of texts `left`, the tokens of context that a passage of a long text is given.

    Raises:
        PerrinError: data of another shape or range than the model's, dequantisation of continuous data.
    """
    model.refuse_distilled("a likelihood")
    if method not in (None, "ode", "bound"):
        raise PerrinError(f"method {method!r} is not known; known: ode, bound")
    process = model.design.categorical
    if process is not None:
        if method == "ode" or dequantise is not None:
            raise PerrinError("the likelihood of tokens is known by its bound alone: method='bound'")
        items = as_items(data)
        check_labels(label, items)

        def conditioned(rows: Sequence[int]) -> dict[str, Tensor] | None:
            if not model.codec.classes:  # nor need the texts be encoded again
                return condition_of(model, Batch(torch.empty(len(rows)), None), label)
            chosen = label if isinstance(label, str | int) else [label[i] for i in rows]
            return condition_of(model, model.codec.encode([items[i] for i in rows]), chosen)

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
    refuse_lossy(model)
    found = []
    for part in parts(model, data, label, size, seed):
        result = estimate(part)
        found.append(result if lattice is not None else result.plus("codec", part.log_det))
        if progress is not None:
            progress(len(part.keys))
    if not found:
        raise PerrinError("there are no data")
    return join(found)


def refuse_lossy(model: Model) -> None:
    """Refuse a model whose states lose some of the data, which have no density then, before any are read."""
    codec = model.codec
    if codec.lattice is None and codec.categories is None and not isinstance(codec, ScalesGiven):
        codec.log_det()


Estimate = Callable[[Part], LogProb]


def _estimate(model: Model, method: Method, dequantise: Any, draws: int, options: dict[str, Any]) -> Estimate:
    """The log-probability of encoded states by the method, with what the model implies where nothing is said."""
    denoiser, lattice = model.denoiser, model.codec.lattice

    def measured(part: Part, **more: Any) -> Callable[..., LogProb]:
        measure = cast("Callable[..., LogProb]", bound if method == "bound" else log_prob)
        implied = _implied(model, method, part.small, options)
        return partial(
            measure, denoiser, condition=part.condition, masks=part.masks, **implied | options | more
        )

    if method == "bound":
        schedule = schedules.build(model.sampling.schedule)
        if isinstance(schedule, Discrete):  # a discrete-time model has the likelihood of its chain
            chain = schedule.levels.flip(0)
            options = {"levels": chain, "reconstruction": "discretised" if lattice else None} | options
        if dequantise is None:
            return lambda part: measured(part, lattice=lattice)(part.state, seeds=part.keys)
    elif lattice is None:
        return lambda part: measured(part)(part.state, seeds=part.keys)
    law = {} if dequantise in (None, "uniform") else {"law": dequantise}
    return lambda part: dequantised(measured(part), part.state, lattice, draws=draws, seeds=part.keys, **law)


def _implied(model: Model, method: Method, small: bool, options: dict[str, Any]) -> dict[str, Any]:
    """The options that are meant where nothing is said."""
    windows = isinstance(model.codec, ScalesGiven)
    if method == "bound":
        return {"samples": SAMPLES} if windows and "levels" not in options else {}
    if not windows:
        return {} if small else LARGE
    if small:
        return {"tolerance": 1e-4}
    return WINDOWS if "tolerance" in options else WINDOWS | STEPS
