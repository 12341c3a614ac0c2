r"""From a trace to a table: which values are kept in slots between evaluations, and each row's matrix.

Between two evaluations a row maps the slots, the new prediction and the row's draws to the new slots. A value
is given a slot exactly as long as a later row uses it (liveness, walked backwards).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from perrin.errors import PerrinError
from perrin.sample.plan import Row
from perrin.sample.tracing import Draw, Tracer


def _expand(tracer: Tracer, atom: int, segment: int) -> dict[int, float]:
    """`atom` by values known before `segment` and by its own inputs (predictions, draws)."""
    found = tracer.atoms[atom]
    if found.segment < segment or found.definition is None:
        return {atom: 1.0}
    total: dict[int, float] = {}
    for part, factor in found.definition.terms.items():
        for leaf, value in _expand(tracer, part, segment).items():
            total[leaf] = total.get(leaf, 0.0) + factor * value
    return total


def _needs(tracer: Tracer, outputs: list[int], segment: int) -> list[int]:
    """The values made before `segment` that its outputs use."""
    used = (leaf for atom in outputs for leaf in _expand(tracer, atom, segment))
    return [a for a in dict.fromkeys(used) if tracer.atoms[a].segment < segment]


@dataclass(frozen=True)
class Line:
    """A `Row` of Python's own numbers, of which two can be compared; `row` is the row."""

    level: float | None
    base: float
    matrix: list[list[float]]
    draws: tuple[Draw, ...]
    variance: tuple[float, float] | None

    @property
    def row(self) -> Row:
        """The row itself."""
        matrix = torch.tensor(self.matrix, dtype=torch.float64)
        return Row(self.level, self.base, matrix, self.draws, self.variance)


def compile_lines(tracer: Tracer) -> tuple[list[Line], int]:
    """The lines of a trace's table and the number of slots.

    A first row without evaluation appears only when the rule changes the state before it evaluates.
    """
    count = len(tracer.evaluations)
    # what stands in (x_base, x_eval) after each segment
    heads = [(base, atom) for atom, _, base, _ in tracer.evaluations] + [(tracer.base, tracer.base)]
    keeps: list[list[int]] = [[] for _ in range(count + 1)]
    for segment in range(count, 0, -1):
        needed = _needs(tracer, [*heads[segment], *keeps[segment]], segment)
        keeps[segment - 1] = [a for a in needed if a not in heads[segment - 1]]
    slots = 2 + max(len(k) for k in keeps)

    made: list[list[int]] = [[] for _ in range(count + 1)]
    for number, atom in enumerate(tracer.atoms):
        made[atom.segment].append(number)
    layouts = [[*heads[0], *keeps[0]]]
    for segment in range(1, count + 1):
        layouts.append([*heads[segment], *_place(layouts[-1][2:], keeps[segment])])
    rows = []
    if layouts[0] != [0, 0]:
        rows.append(_row(tracer, made[0], [0, 0], layouts[0], 0, slots))
    for segment in range(1, count + 1):
        rows.append(_row(tracer, made[segment], layouts[segment - 1], layouts[segment], segment, slots))
    return rows, slots


def _place(before: list[int], wanted: list[int]) -> list[int]:
    """`wanted` in slots such that a value which stays keeps its place; -1 marks an empty slot."""
    places = [a if a in wanted else -1 for a in before] + [-1] * max(0, len(wanted) - len(before))
    for atom in wanted:
        if atom not in places:
            places[places.index(-1)] = atom
    while places and places[-1] == -1:
        places.pop()
    return places


def _row(
    tracer: Tracer, inputs: list[int], before: list[int], after: list[int], segment: int, slots: int
) -> Line:
    draws = [a for a in inputs if tracer.atoms[a].kind == "draw"]
    column = {a: slots + 2 + i for i, a in enumerate(draws)}
    column |= {a: slots for a in inputs if tracer.atoms[a].kind == "mean"}
    column |= {a: slots + 1 for a in inputs if tracer.atoms[a].kind == "noise"}
    for place, atom in reversed(list(enumerate(before))):  # x_base before its copies
        if atom >= 0:
            column[atom] = place
    matrix = [[0.0] * (slots + 2 + len(draws)) for _ in range(slots)]
    for place, atom in enumerate(after):
        if atom >= 0:
            for leaf, value in _expand(tracer, atom, segment).items():
                matrix[place][column[leaf]] += value
    used = [i for i in range(len(draws)) if any(line[slots + 2 + i] != 0.0 for line in matrix)]
    if len(used) < len(draws):
        columns = [*range(slots + 2), *(slots + 2 + i for i in used)]
        matrix = [[line[c] for c in columns] for line in matrix]
    kept = [tracer.atoms[draws[i]] for i in used]
    variances = {a.variance for a in kept}
    if len(variances) > 1:
        raise PerrinError("a rule gives the draws of one row different variances; one learned variance a row")
    _, level, _, base = tracer.evaluations[segment - 1] if segment else (0, None, 0, tracer.evaluations[0][3])
    return Line(
        level=level,
        base=base,
        matrix=matrix,
        draws=tuple(a.draw for a in kept if a.draw is not None),
        variance=variances.pop() if variances else None,
    )
