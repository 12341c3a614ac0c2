"""What stands around the numbers of a column: units, currencies, K and M for thousands and millions, per cent."""

from __future__ import annotations

import re
from collections.abc import Sequence

SIZES = {
    "k": 1e3,
    "K": 1e3,
    "M": 1e6,
    "mn": 1e6,
    "Mio": 1e6,
    "Mio.": 1e6,
    "B": 1e9,
    "bn": 1e9,
    "Mrd": 1e9,
    "Mrd.": 1e9,
}
PER_CENT = {"%": 1.0}
AROUND = re.compile(r"([^\d(),.+-]*)([(+-]?[\d.,' \u00a0\u202f]*\d\)?(?:[eE][+-]?\d+)?)\s*([^\d\s()]*)")
CURRENCY = re.compile(r"|[A-Z]{3} ?|[A-Z]{0,2}[$€£¥] ?|Rs\.? ?|kr\.? ?")


def apart(texts: Sequence[str], missing: set[str]) -> tuple[list[str], list[float], list[str]]:
    """(texts without what stands around all numbers alike, what each is multiplied by, notes).

    Texts stay as they are where what stands around them differs from row to row, or is no currency before them: names
    such as "shop 1" are no numbers.
    """
    found = {text: AROUND.fullmatch(text) for text in set(texts) if text.lower() not in missing}
    parts = {text: (m[1], m[2].strip(), m[3]) for text, m in found.items() if m}
    before, after = {part[0] for part in parts.values()}, {part[2] for part in parts.values()}
    sizes = next((each for each in (SIZES, PER_CENT) if after - {""} and after <= {"", *each}), None)
    alike = len(before) == 1 and (sizes is not None or len(after) == 1)
    if not alike or len(parts) < len(found) or before | after == {""} or not CURRENCY.fullmatch(min(before)):
        return list(texts), [1.0] * len(texts), []
    plain = [parts[text][1] if text in parts else text for text in texts]
    ones = [sizes.get(parts[text][2], 1.0) if sizes and text in parts else 1.0 for text in texts]
    words = [f"{one.strip()!r} left out" for one in before if one]
    if sizes is SIZES:
        words.append(", ".join(f"{name} taken as {SIZES[name]:,.0f}" for name in sorted(after - {""})))
    elif sizes is PER_CENT:
        words.append("per cents, so that 5% is 5")
    elif after != {""}:
        words.append(f"{next(iter(after))!r} left out")
    return plain, ones, words
