"""Vocabularies of molecules: one token for each SELFIES symbol, or for each token of SMILES.

SELFIES says a branch and a ring by how many symbols they span, so that no bracket can stay open; SMILES is split atom by
atom (Schwaller et al. 2019, arXiv:1811.02633).
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np

from perrin.errors import PerrinError
from perrin.kinds.smiles.grammar import bonding, to_selfies, to_smiles
from perrin.kinds.smiles.parsing import molecule_of, tidy
from perrin.kinds.text.vocabularies import Vocabulary
from perrin.registry import unknown

Spelling = Literal["selfies", "smiles"]

_TOKEN = re.compile(r"\[[^\[\]]+\]|Br|Cl|[BCNOPSFIbcnops]|[-=#$:/\\().]|%\d\d|\d")


@dataclass(frozen=True)
class Symbols(Vocabulary):
    """One token for each of these symbols, in their order."""

    symbols: tuple[str, ...]

    @staticmethod
    @abstractmethod
    def split(smiles: str, where: str = "the SMILES") -> list[str]:
        """The symbols of a molecule in the order of its atoms; raises a PerrinError where it has none."""

    @staticmethod
    def spelling() -> AbstractContextManager[None]:
        """A block in which many molecules are spelled at the cost of one beginning."""
        return nullcontext()

    @cached_property
    def spellings(self) -> Sequence[bytes]:
        """The symbols themselves."""
        return [symbol.encode() for symbol in self.symbols]

    @cached_property
    def index(self) -> Mapping[str, int]:
        """Symbol -> token."""
        return {symbol: token for token, symbol in enumerate(self.symbols)}

    def encode(self, text: str, where: str = "the SMILES") -> np.ndarray:
        """The tokens of a SMILES, its atoms in the same order.

        Raises:
            PerrinError: no molecule, or a symbol outside; which, and the nearest one inside.
        """
        split = self.split(text, where)
        outside = next((symbol for symbol in split if symbol not in self.index), None)
        if outside is not None:
            near = get_close_matches(outside, self.symbols, 1, 0.5)
            hint = f"; the nearest of them is {near[0]}" if near else ""
            raise PerrinError(
                f"{where}: the symbol {outside} of '{text}' is not among this model's {self.size:,}{hint}"
            )
        return np.array([self.index[symbol] for symbol in split], self.dtype)

    def config(self) -> dict[str, Any]:
        """The spelling and the symbols."""
        return {"level": self.level, "symbols": list(self.symbols)}


@dataclass(frozen=True)
class SelfiesSymbols(Symbols):
    """Symbols of SELFIES: whatever stands in a row is a molecule."""

    level: ClassVar[Any] = "selfies"

    split = staticmethod(to_selfies)
    spelling = staticmethod(bonding)

    def decode(self, tokens: Sequence[int] | np.ndarray) -> str:
        """The canonical SMILES of the molecule; "" where the symbols have no atom."""
        return tidy(to_smiles(super().decode(tokens)))


@dataclass(frozen=True)
class SmilesSymbols(Symbols):
    """Tokens of SMILES: an atom, a bond, a bracket, a ring's number."""

    level: ClassVar[Any] = "smiles"

    @staticmethod
    def split(smiles: str, where: str = "the SMILES") -> list[str]:
        """The tokens of a SMILES, or of the beginning of one."""
        found, at = list[str](), 0
        while at < len(smiles):
            token = _TOKEN.match(smiles, at)
            if token is None:
                molecule_of(smiles, where)  # which says better why it is no molecule at all
                raise PerrinError(f"{where}: {smiles[at]!r} at character {at + 1} of '{smiles}' is no token")
            found.append(token[0])
            at = token.end()
        return found

    def decode(self, tokens: Sequence[int] | np.ndarray) -> str:
        """The canonical SMILES of what is a molecule; what is none as it is written."""
        return tidy(super().decode(tokens))


SPELLINGS: dict[str, type[Symbols]] = {kind.level: kind for kind in (SelfiesSymbols, SmilesSymbols)}


def spelling_of(name: str) -> type[Symbols]:
    """The vocabulary of a spelling by its name; the nearest name in the error."""
    if name not in SPELLINGS:
        raise unknown("spelling", name, SPELLINGS)
    return SPELLINGS[name]
