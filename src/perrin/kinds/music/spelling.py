"""The vocabulary of tunes: a token for each slot, bar line, chord symbol and field that training tunes use.

Tunes are kept relative to their signature: all are written as if in C or A minor (`keys.moved`), and the token of the
key says where they sound, so that what is learnt in one key is known in all. A slot with several notes that few tunes
have is spelled by the one that sounds longest in it, a chord symbol by a simpler one, a key by a neighbour.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from perrin.kinds.music.keys import mode_of, moved, signature
from perrin.kinds.music.layout import write_tune
from perrin.kinds.music.notation import is_field, read_pieces
from perrin.kinds.music.slots import HOLD, PAD, items_of, pieces_of, slots_of
from perrin.kinds.text.vocabularies import Vocabulary
from perrin.registry import unknown

LEVEL = "abc"
RARE = 3  # what fewer slots hold is spelled by something simpler

_METRES = ("2/2", "2/4", "3/2", "3/4", "3/8", "4/4", "5/4", "6/4", "6/8", "9/8", "12/8", "none")
_TONICS = ("C", "G", "D", "A", "E", "F", "Bb", "Eb")
_SCALE = ("G,", "A,", "B,", *"CDEFGABcdefgab", "c'", "d'", "e'")
# Any tune has these, whatever the training tunes happen to use.
_ALWAYS = (
    *(f"M:{metre}" for metre in _METRES),
    *(f"K:{key}" for key in (*_TONICS, "Am", "Em", "Bm", "F#m", "Dm", "Gm", "Cm")),
    *("|", "||", "|:", ":|", "::", "|1", ":|2", HOLD, PAD, "z"),
    *_SCALE,
)
_SIGN = re.compile(r"(\||:\|)(\d)")
_SYMBOL = re.compile(r'"([A-G][#b]?)(m?)(?:dim|aug)?7?"')


@dataclass(frozen=True)
class Notes(Vocabulary):
    """One token for each of these spellings, in their order.

    Args:
        known: slots, bar lines, fields and chord symbols.
        symbols: whether chord symbols are kept; else they are left out of what is encoded.
    """

    known: tuple[str, ...]
    symbols: bool = False

    level = LEVEL  # type: ignore[assignment]  # the levels of plain text are others

    @classmethod
    def of(cls, tunes: Iterable[str], symbols: bool) -> Notes:
        """The vocabulary of training tunes: what at least `RARE` of their slots hold, and what any tune has."""
        counts = Counter(slot for tune in tunes for slot in relative(read_pieces(tune), symbols))
        often = (slot for slot, count in counts.items() if count >= RARE or not items_of(slot))
        return cls(tuple(dict.fromkeys([*_ALWAYS, *sorted(often)])), symbols)

    @cached_property
    def spellings(self) -> Sequence[bytes]:
        """Each token as it is shown, with a space behind."""
        return [f"{slot} ".encode() for slot in self.known]

    @cached_property
    def _index(self) -> dict[str, int]:
        return {slot: token for token, slot in enumerate(self.known)}

    def encode(self, text: str, where: str = "the tune") -> np.ndarray:
        """The tokens of a tune, or of the beginning of one that has at least a key.

        Raises:
            PerrinError: no ABC, or a metre, key or note that no token spells.
        """
        slots = relative(read_pieces(text, where, begun=True), self.symbols)
        return np.array([t for slot in slots for t in self._spelled(slot, where)], self.dtype)

    def _spelled(self, slot: str, where: str) -> list[int]:
        for spelling in (slot, *_simpler(slot, self.known)):
            if spelling in self._index:
                return [self._index[spelling]]
        if slot.startswith('"'):  # harmony that has no token is left out
            return []
        raise unknown(f"{where}: sign of a tune", slot, self.known)

    def decode(self, tokens: Sequence[int] | np.ndarray) -> str:
        """The tune as ABC in its own key; one without a metre and a key at its head is not valid."""
        return write_tune(absolute([self.known[token] for token in np.asarray(tokens).tolist()]))

    def config(self) -> dict[str, Any]:
        """JSON-able, complete."""
        return {"level": LEVEL, "known": list(self.known), "symbols": self.symbols}


def _simpler(slot: str, known: Sequence[str]) -> list[str]:
    """Spellings that say less, the nearest first."""
    if is_field(slot):  # in another key the tune is the same, and its bars say what its metre is
        return ["M:none"] if slot.startswith("M:") else [_nearest_key(slot, known)]
    symbol, sign, items = _SYMBOL.fullmatch(slot), _SIGN.fullmatch(slot), items_of(slot)
    if symbol is not None:
        return [f'"{symbol[1]}{symbol[2]}"', f'"{symbol[1]}"']
    if sign is not None:  # a third ending
        return [sign[1]]
    if not items:
        return []
    note = max(items, key=lambda item: item[1])[0]
    plain = note.lstrip("_=^")
    return [note, plain, _nearer(plain)]


def _nearest_key(field: str, known: Sequence[str]) -> str:
    """The key of the nearest signature, of the same mode before another."""
    keys = [slot for slot in known if slot.startswith("K:")]
    mode, fifths = mode_of(field[2:]), signature(field[2:])
    return min(keys, key=lambda key: (mode_of(key[2:]) != mode, abs(signature(key[2:]) - fifths)))


def _nearer(note: str) -> str:
    """The same letter in the octave of the scale's middle that is nearest."""
    return note[0].upper() if "," in note else note[0].lower()


def relative(pieces: Sequence[str], symbols: bool) -> list[str]:
    """Pieces as slots in the signature of C."""
    kept = pieces if symbols else [piece for piece in pieces if not piece.startswith('"')]
    return slots_of(in_signature(kept, inwards=True))


def absolute(slots: Sequence[str]) -> list[str]:
    """The pieces that slots in the signature of C are in their own key."""
    return in_signature(pieces_of(slots), inwards=False)


def in_signature(pieces: Sequence[str], inwards: bool) -> list[str]:
    """Notes and chord symbols of each key as those of C (`inwards`), or of C as those of each key."""
    found, fifths = list[str](), 0
    for piece in pieces:
        fifths = signature(piece[2:]) if piece.startswith("K:") else fifths
        found += [piece] if is_field(piece) else moved([piece], *((fifths, 0) if inwards else (0, fifths)))
    return found
