"""What one tick needs besides the states: coefficients and seeds, made before the states are touched.

It depends on plans, rows and keys alone. So a loop that knows them makes all of it at its start, and no tick waits
for the host or copies to the device. Coefficients that all samples share are numbers on the host, which any
device takes as arguments; those of samples on different rows are tensors [B, 1, ...] beside the states.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from perrin.errors import PerrinError
from perrin.process.levels import expand
from perrin.process.state import State, leaves
from perrin.sample.jumping import Leaps, leaps
from perrin.sample.noise import Key, seed_of, seed_tensor
from perrin.sample.plan import Row

Line: TypeAlias = tuple[tuple[int, Tensor | None], ...]
"""(source, coefficient) pairs whose products are summed in this order; None is 1. Sources as in `Row.program`."""


Lines: TypeAlias = tuple[tuple[Line, ...], tuple[int, ...]]
"""Lines, each once, and which of them each slot takes."""


@dataclass(frozen=True)
class Draws:
    """The normals of one leaf in one tick.

    Attributes:
        seeds: int64 [B'] of every draw; having: which B' items have that draw, None where all do.
        spread: (a, b, sqrt(a)): normals are scaled by sqrt(a + b * variance of the prediction); None: by 1.
    """

    seeds: tuple[Tensor, ...]
    having: tuple[Tensor | None, ...]
    spread: tuple[Tensor, Tensor, Tensor] | None


@dataclass(frozen=True)
class Ready:
    """One tick, ready on the states' device.

    Attributes:
        lines: leaf -> the sums to form, and which of them each slot takes.
        draws: leaf -> its noise, where a row draws any.
        levels: leaf -> its levels float64 [B], where a row uses the raw noise prediction.
        leaps: leaf -> how kernels move it.
    """

    lines: dict[str, Lines]
    draws: dict[str, Draws]
    levels: dict[str, Tensor]
    leaps: dict[str, Leaps]


def prepare(
    rows: Row | Sequence[Row], keys: Sequence[Key], slots: int, x: State, moved: Container[str]
) -> Ready:
    """The tick of samples with `keys` [B], all on one row or on `rows` [B], which carry `slots` states like `x`.

    `moved`: the leaves that kernels move.
    """
    if isinstance(rows, Row) and isinstance(x, Tensor) and not moved and not (rows.draws or rows.uses_noise):
        return _alone(rows, slots, x.dtype)
    row_of = [rows] * len(keys) if isinstance(rows, Row) else rows
    ready = Ready({}, {}, {}, {})
    for name, value in leaves(x).items():
        if name in moved:
            ready.leaps[name] = leaps(row_of, keys, name, value)
        else:
            _tables(ready, name, value, _of(rows, name), keys, slots)
    return ready


def _alone(row: Row, slots: int, dtype: torch.dtype) -> Ready:
    """Every sample on one row, of one leaf and without noise: it depends on nothing else, and is made once."""
    name = ("alone", dtype, slots)
    if name not in row.ready:
        found = _of(row, "")
        assert isinstance(found, Row)
        row.ready[name] = Ready({"": _together(found, slots, dtype)}, {}, {}, {})
    made: Ready = row.ready[name]
    return made


def _of(rows: Row | Sequence[Row], leaf: str) -> Row | list[Row]:
    """The rows that move a continuous leaf."""
    if isinstance(rows, Row):
        found = rows.table_of(leaf)
        if found is None:
            raise PerrinError(
                "this plan moves tokens, and the state is continuous; perrin models --solvers lists solvers"
            )
        return found
    once = {id(row): _of(row, leaf) for row in rows}
    return [row for row in (once[id(row)] for row in rows) if isinstance(row, Row)]


def _tables(
    ready: Ready, leaf: str, x: Tensor, rows: Row | list[Row], keys: Sequence[Key], slots: int
) -> None:
    """The part of a continuous leaf."""
    kinds = [rows] if isinstance(rows, Row) else rows
    row_of = [rows] * len(keys) if isinstance(rows, Row) else rows
    if any(row.draws for row in kinds):
        ready.draws[leaf] = _draws(row_of, keys, leaf, x)
    if any(row.uses_noise for row in kinds):
        ready.levels[leaf] = level_tensor(row_of, x.device)
    if all(row is kinds[0] for row in kinds):
        ready.lines[leaf] = _together(kinds[0], slots, x.dtype)
    else:
        ready.lines[leaf] = _apart(row_of, slots, x), tuple(range(slots))


def level_tensor(row_of: Sequence[Row], device: torch.device) -> Tensor:
    """The level told to the denoiser for each row, float64 [B]; 0 for rows that do not ask."""
    told = [0.0 if row.level is None else row.level for row in row_of]
    return torch.tensor(told, dtype=torch.float64, device=device)


def _together(row: Row, slots: int, dtype: torch.dtype) -> Lines:
    """Every sample on one row: its program with coefficients cast, made once."""
    if (dtype, slots) not in row.ready:
        program = [tuple(line) for line in row.program]
        program += [((place, 1.0),) for place in range(len(program), slots)]
        once = list(dict.fromkeys(program))
        # not inference tensors, even if first used there: gradients may be asked for later
        with torch.inference_mode(False):
            numbers = iter(
                torch.tensor([c for line in once for _, c in line], dtype=dtype, device="cpu").unbind()
            )
        lines = tuple(tuple((i, _factor(c, next(numbers), len(line))) for i, c in line) for line in once)
        row.ready[dtype, slots] = lines, tuple(once.index(line) for line in program)
    made: Lines = row.ready[dtype, slots]
    return made


def _factor(coefficient: float, number: Tensor, terms: int) -> Tensor | None:
    """A coefficient as the tensor that it is; a line that only copies multiplies nothing."""
    return None if terms == 1 and coefficient == 1.0 else number


def _apart(row_of: Sequence[Row], slots: int, x: Tensor) -> tuple[Line, ...]:
    """Every sample on its own row: one line a slot, over all that any row uses, its coefficients [B, 1, ...]."""
    draws = max(len(row.draws) for row in row_of)
    table = torch.stack([_padded(row, slots, draws) for row in row_of], -1)
    used = (table != 0).any(-1).tolist()
    ones = (table == 1).all(-1).tolist()
    table = table.to(device=x.device, dtype=x.dtype).reshape(*table.shape, *[1] * (x.dim() - 1))
    lines: list[Line] = []
    for place in range(slots):
        columns = [i for i, flag in enumerate(used[place]) if flag]
        copied = len(columns) == 1 and ones[place][columns[0]]
        lines.append(tuple((_source(i, slots), None if copied else table[place, i]) for i in columns))
    return tuple(lines)


def _padded(row: Row, slots: int, draws: int) -> Tensor:
    """The row's matrix among plans with more slots and draws, float64 [slots, slots + 2 + draws]."""
    own = row.matrix.shape[0]
    full = torch.zeros(slots, slots + 2 + draws, dtype=torch.float64)
    full[:own, :own] = row.matrix[:, :own]
    full[:own, slots : slots + 2 + len(row.draws)] = row.matrix[:, own:]
    return full


def _source(column: int, slots: int) -> int:
    return column if column < slots else slots - column - 1


def _draws(row_of: Sequence[Row], keys: Sequence[Key], leaf: str, x: Tensor) -> Draws:
    seeds, having = [], []
    for index in range(max(len(row.draws) for row in row_of)):
        items = [i for i, row in enumerate(row_of) if index < len(row.draws)]
        named = [(keys[i], row_of[i].draws[index]) for i in items]
        found = [seed_of(k, leaf, d.stream, d.start, d.stop, d.visit) for k, d in named]
        seeds.append(seed_tensor(found, x.device))
        having.append(None if len(items) == len(row_of) else torch.tensor(items, device=x.device))
    return Draws(tuple(seeds), tuple(having), _spread(row_of, x))


def _spread(row_of: Sequence[Row], x: Tensor) -> tuple[Tensor, Tensor, Tensor] | None:
    if all(row.variance is None for row in row_of):
        return None
    pairs = [(1.0, 0.0) if row.variance is None else row.variance for row in row_of]
    a, b = torch.tensor(pairs, dtype=torch.float64).unbind(1)
    return expand(a, x), expand(b, x), expand(a.sqrt(), x)
