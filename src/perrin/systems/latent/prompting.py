r"""Prompts with weights, as people write them: `a (red:1.3) cube, [blurry]`.

    (word:1.3)   1.3 times          (word)   1.1 times        [word]   1 / 1.1 times        \(   the sign itself

Brackets may be nested; their weights multiply. A bracket that is not closed closes at the end.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from perrin.errors import PerrinError

MORE = 1.1
_SIGN = re.compile(r"\\[()\[\]\\]|:\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*\)|[()\[\]]|[^\\()\[\]:]+|\\|:")


class Piece(NamedTuple):
    """Some words and how much they count."""

    text: str
    weight: float


def pieces(prompt: str) -> list[Piece]:
    """The pieces of a prompt, neighbours of one weight together.

    Raises:
        PerrinError: a bracket that closes nothing.
    """
    found: list[Piece] = []
    open_: list[tuple[str, int]] = []
    for match in _SIGN.finditer(prompt):
        sign = match.group()
        if sign in ("(", "["):
            open_.append((sign, len(found)))
        elif sign in (")", "]") or match.group(1) is not None:
            if not open_ or open_[-1][0] != ("[" if sign == "]" else "("):
                if match.group(1) is not None:  # a text such as "12:30)" with nothing open
                    raise PerrinError(
                        f"the prompt has {sign!r} that closes no bracket; write \\) for the sign itself"
                    )
                raise PerrinError(
                    f"the prompt has {sign!r} that closes no bracket; write \\{sign} for the sign itself"
                )
            _, start = open_.pop()
            factor = float(match.group(1)) if match.group(1) else MORE if sign == ")" else 1 / MORE
            found[start:] = [Piece(text, weight * factor) for text, weight in found[start:]]
        else:
            found.append(Piece(sign[1] if len(sign) == 2 and sign[0] == "\\" else sign, 1.0))
    for sign, start in reversed(open_):
        factor = MORE if sign == "(" else 1 / MORE
        found[start:] = [Piece(text, weight * factor) for text, weight in found[start:]]
    joined: list[Piece] = []
    for piece in found:
        if joined and joined[-1].weight == piece.weight:
            joined[-1] = Piece(joined[-1].text + piece.text, piece.weight)
        else:
            joined.append(piece)
    return joined or [Piece("", 1.0)]
