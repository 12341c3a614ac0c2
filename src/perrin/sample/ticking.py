r"""`advance`: one tick, in which every sample moves by its own row of its own plan.

The update is a sum of products, elementwise, in one fixed order, with coefficients cast once to the state's
dtype. Products and sums are separate operations, since a fused multiply-add may round differently in a
vector's tail. So the rounding does not depend on the batch: a sample alone, or beside strangers on other rows
of other plans, is the same sample bit for bit (as far as the denoiser itself works row by row).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from perrin.denoise.prediction import Prediction
from perrin.errors import PerrinError
from perrin.process.product import Process, as_product
from perrin.process.state import Masks, State, leaves, like
from perrin.sample.jumping import leapt
from perrin.sample.keeping import Kept, keep
from perrin.sample.noise import Key, normals
from perrin.sample.plan import Plan, Row
from perrin.sample.preparing import Draws, Line, Ready, prepare

Slots: TypeAlias = list[State]
PLAIN = Kept(None)


def start_slots(plan: Plan, x: State, count: int | None = None) -> Slots:
    """The slots before row 0: the start state as x_base and x_eval, nothing kept yet.

    `count`: more slots than the plan needs, for a batch in which another plan needs them.
    """
    count = plan.slots if count is None else count
    empty = like({name: torch.zeros_like(v) for name, v in leaves(x).items()}, x) if count > 2 else x
    return [x, x, *([empty] * (count - 2))]


def advance(
    plans: Plan | Sequence[Plan],
    rows: int | Sequence[int],
    slots: Slots,
    predictions: Prediction | None,
    keys: Sequence[Key],
    process: Process = None,
    masks: Masks | None = None,
) -> Slots:
    """One tick of the only sampling loop.

    Args:
        plans: one plan for all B samples, or one for each.
        rows: one row index for all, or one each.
        slots: states [B, ...], as `start_slots` or the last tick gave them.
        predictions: of the denoiser at x_eval (`slots[1]`); None where no row evaluates.
        keys: the samples' keys [B], which name their noise.
        process, masks: see `run`.

    Returns:
        The new slots; `slots[0]` is the state. No state that came in is written to.

    Raises:
        PerrinError: plans, rows and keys of different lengths.
    """
    kept = keep(process, slots[0], masks)
    ready = prepare(_rows(plans, rows, len(keys)), keys, len(slots), slots[0], as_product(process).moved())
    return move(ready, slots, predictions, kept)


def move(ready: Ready, slots: Slots, predictions: Prediction | None, kept: Mapping[str, Kept]) -> Slots:
    """`advance` by a tick that was made ready before; `kept` says what stays the same of every leaf."""
    if isinstance(slots[0], Tensor) and "" in ready.lines:
        return [*_continuous(ready, "", slots, predictions, kept.get("", PLAIN))]
    old = [leaves(slot) for slot in slots]
    new: dict[str, list[Tensor]] = {}
    for name in ready.lines:
        own = kept.get(name, PLAIN)
        new[name] = _continuous(ready, name, [slot[name] for slot in old], predictions, own)
    mean: dict[str, Tensor] = {} if predictions is None else leaves(predictions.mean)
    for name, ahead in ready.leaps.items():
        new[name] = [leapt(ahead, kept[name], old[0][name], mean.get(name))] * len(slots)
    return [
        like({name: found[place] for name, found in new.items()}, slots[0]) for place in range(len(slots))
    ]


def _continuous(
    ready: Ready, leaf: str, slots: Sequence[Any], predictions: Prediction | None, own: Kept
) -> list[Tensor]:
    """The new slots of one leaf, from its old ones [B, ...]."""
    inputs, x = [*slots], slots[0]
    if leaf in ready.draws:
        variance = None if predictions is None else _leaf(predictions.variance, leaf)
        inputs.extend(reversed(_draws(ready.draws[leaf], x, variance, own)))
    # MEAN, NOISE and DRAW - i are places from the end
    noise = mean = x
    if predictions is not None:
        if leaf in ready.levels:
            noise = predictions.leaf_noise(leaf, slots[1], ready.levels[leaf]).to(x.dtype)
        mean = _leaf(predictions.mean, leaf)
        mean = mean if mean.dtype == x.dtype else mean.to(x.dtype)
    inputs += [noise, mean]
    lines, where = ready.lines[leaf]
    sums = _sums(lines, inputs)
    if own.start is not None:
        sums = [own.restore(found) for found in sums]
    return [sums[place] for place in where]


def _leaf(part: State | None, name: str) -> Any:
    """A leaf's own tensor; None where there is none."""
    return part if part is None or isinstance(part, Tensor) else part.get(name)


def _sums(lines: tuple[Line, ...], inputs: list[Tensor]) -> list[Tensor]:
    """The sums of products. Without gradients each is added up in place, in a tensor that is its own."""
    in_place = not torch.is_grad_enabled()
    done = []
    for line in lines:
        total: Tensor | None = None
        for source, coefficient in line:
            term = inputs[source] if coefficient is None else inputs[source] * coefficient
            if total is None:
                total = term
            else:
                total = total.add_(term) if in_place else total + term
        done.append(torch.zeros_like(inputs[0]) if total is None else total)
    return done


def _draws(draws: Draws, x: Tensor, variance: Tensor | None, kept: Kept) -> list[Tensor]:
    """The noise [B, ...], draw by draw; samples without that draw get zeros."""
    results = []
    for seeds, having in zip(draws.seeds, draws.having, strict=True):
        z = normals(seeds, x.shape[1:], x.dtype)
        if having is not None:
            z = torch.zeros_like(x).index_copy(0, having, z)
        z = kept.noise(z)
        if draws.spread is not None:
            a, b, root = draws.spread
            z = z * (root if variance is None else torch.sqrt(a + b * variance))
        results.append(z)
    return results


def _rows(plans: Plan | Sequence[Plan], rows: int | Sequence[int], count: int) -> Row | list[Row]:
    if isinstance(plans, Plan) and isinstance(rows, int):
        return plans.rows[rows]
    plan_of = [plans] * count if isinstance(plans, Plan) else list(plans)
    index_of = [rows] * count if isinstance(rows, int) else list(rows)
    if len(plan_of) != count or len(index_of) != count:
        raise PerrinError(f"{count} keys need as many plans and rows; got {len(plan_of)} and {len(index_of)}")
    return [plan.rows[index] for plan, index in zip(plan_of, index_of, strict=True)]
