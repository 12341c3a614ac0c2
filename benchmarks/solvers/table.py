"""The table of errors against evaluations, in markdown."""

from __future__ import annotations

import datetime
import platform
import sys

from targets import summary
from torch import Tensor

Cells = dict[int, tuple[str, Tensor, int]]
"""Evaluations asked for -> (grid, errors [B], evaluations counted)."""
FIRST, INTERVALS = 10, (4, 10)


def report(target: str, rows: dict[tuple[str, str], Cells], seeds: int) -> str:
    """One row a sampler, the least root mean square at ten evaluations first within each library."""
    counts = sorted({n for cells in rows.values() for n in cells})
    text = f"## {target}, {seeds:,} unseen seeds: median / root mean square of the error of a seed\n\n"
    text += "| library | sampler | " + " | ".join(map(str, counts)) + " |\n" + "| --- " * (2 + len(counts))
    text += "|\n"
    for library in dict.fromkeys(library for library, _ in rows):
        names = sorted((name for name in rows if name[0] == library), key=lambda n: _rank(rows[n]))
        for name in names:
            cells = [_cell(n, rows[name][n]) if n in rows[name] else "" for n in counts]
            text += "| " + " | ".join([*name, *cells]) + " |\n"
    text += "\nLetters: the grid, best on other seeds. In brackets: evaluations where there is no plan of as many.\n\n"
    return text + intervals(rows)


def intervals(rows: dict[tuple[str, str], Cells]) -> str:
    """The best of each library with 95 % bootstrap intervals."""
    text = "| evaluations | library | sampler | grid | median | root mean square |\n" + "| --- " * 6 + "|\n"
    for n in INTERVALS:
        for library in dict.fromkeys(library for library, _ in rows):
            named = [
                name for name in rows if name[0] == library and n in rows[name] and len(rows[name][n][1])
            ]
            for name in dict.fromkeys(min(named, key=lambda m, k=k: _figure(rows[m][n], k)) for k in (0, 1)):
                found = summary(rows[name][n][1])
                shown = [f"{v:.4f} ({a:.4f} to {b:.4f})" for v, a, b in found.values()]
                text += "| " + " | ".join([str(n), *name, rows[name][n][0], *shown]) + " |\n"
    return text + "\n"


def _figure(cell: tuple[str, Tensor, int], which: int) -> float:
    return (float(cell[1].median()), float(cell[1].square().mean().sqrt()))[which]


def _rank(cells: Cells) -> float:
    return _figure(cells[FIRST], 1) if len(cells[FIRST][1]) else float("inf")


def _cell(asked: int, cell: tuple[str, Tensor, int]) -> str:
    grid, found, counted = cell
    if not len(found):
        return "-"
    figures = "/".join(f"{_figure(cell, k):.3f}".removeprefix("0") for k in (0, 1))
    return f"{figures} {grid[:2]}" + (f" ({counted})" if counted != asked else "")


def signature() -> str:
    """When, where and how."""
    return (
        f"\n{datetime.date.today()}, {platform.platform()}, one thread\n\n    python {' '.join(sys.argv)}\n"
    )
