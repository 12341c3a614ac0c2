"""Numbers as people write them: decimal commas, thousands separators, signs, per cents and blanks; never a guess.

"1.234,5" and "1,234.5" say themselves what their marks mean; "1,234" does not, unless another cell of its column does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from perrin.errors import PerrinError
from perrin.kinds.files import few
from perrin.kinds.series.affixes import apart

Decimal = Literal[".", ","]
MISSING = {
    "",
    "na",
    "n/a",
    "nan",
    "none",
    "null",
    "nil",
    "-",
    "--",
    ".",
    "..",
    "?",
    "missing",
    "#n/a",
    "<na>",
    "n.a.",
    "#value!",
    "#ref!",
    "#num!",
    "#div/0!",
}
TRUTH = {"true": "1", "false": "0"}
SPACES = re.compile(r"(?<=\d)[\s\u00a0\u202f'\u2019_](?=\d{3}(?!\d))")
GROUPED = {
    ",": re.compile(r"[+-]?\d{1,3}(,\d{2,3})*,\d{3}(\.\d+)?"),  # also 12,34,567 of India
    ".": re.compile(r"[+-]?\d{1,3}(\.\d{3})+(,\d+)?"),
}


class Numbers(NamedTuple):
    """`values` float64 [T], NaN for what is missing or no number; `bad`: rows of the latter; what was understood."""

    values: np.ndarray
    bad: list[int]
    note: str


def numbers(cells: Sequence[object], column: str, decimal: Decimal | None = None) -> Numbers:
    """The numbers of a column of texts (or of numbers, which stay).

    Args:
        decimal: the decimal mark; by default it is read from the cells.

    Raises:
        PerrinError: commas that may be decimal marks or thousands separators.
    """
    array = np.asarray(cells)
    if array.dtype.kind in "biuf":
        return Numbers(array.astype(np.float64), [], "")
    bare, sizes, notes = apart([_plain(cell) for cell in cells], MISSING)
    texts = [SPACES.sub("", text) for text in bare]
    said = {text.lower() for text in texts} - MISSING
    if said and said <= TRUTH.keys():
        texts, notes = [TRUTH.get(text.lower(), text) for text in texts], ["true as 1, false as 0"]
    mark = decimal or _mark(texts, column)
    thousands = "." if mark == "," else ","
    values, bad, grouped = np.full(len(texts), np.nan), [], 0
    for row, text in enumerate(texts):
        if text.lower() in MISSING:
            continue
        if thousands in text and GROUPED[thousands].fullmatch(text):
            text, grouped = text.replace(thousands, ""), grouped + 1
        try:
            values[row] = sizes[row] * float(text.replace(mark, ".") if mark == "," else text)
        except ValueError:
            bad.append(row)
    notes += [f"{grouped:,} numbers with thousands separators {thousands!r}"] if grouped else []
    notes += ["decimal commas"] if mark == "," else []
    return Numbers(values, bad, f"column {column!r}: {' and '.join(notes)}" if notes else "")


def _plain(cell: object) -> str:
    """Without signs of currency around it; brackets are a minus, as accountants write."""
    text = "" if cell is None else str(cell).strip().strip("$€£¥ ").replace("\u2212", "-")
    return f"-{text[1:-1]}" if re.fullmatch(r"\([\d.,]+\)", text) else text


def _mark(texts: Sequence[str], column: str) -> Decimal:
    """The decimal mark that the cells with a comma agree on."""
    commas = [
        text
        for text in texts
        if re.fullmatch(r"[+-]?[\d.,]*\d[\d.,]*(e[+-]?\d+)?", text, re.I) and "," in text
    ]
    if not commas:
        return "."
    if any(text.rfind(".") > text.rfind(",") >= 0 or text.count(",") > 1 for text in commas):
        return "."
    dots = [
        text
        for text in texts
        if re.fullmatch(r"[+-]?\d+\.\d+", text) and not re.fullmatch(r"[+-]?\d{1,3}\.\d{3}", text)
    ]
    if any("." in text for text in commas) or any(not re.search(r",\d{3}$", text) for text in commas):
        if dots:
            raise PerrinError(
                f"column {column!r} has decimal commas ({commas[0]}) and decimal points ({dots[0]})"
            )
        return ","
    if dots:
        return "."
    raise PerrinError(
        f"column {column!r}: {few(repr(t) for t in dict.fromkeys(commas))} may be thousands or decimals; write decimal: "
        "'.' where the comma separates thousands, or decimal: ',' where it is the decimal mark"
    )
