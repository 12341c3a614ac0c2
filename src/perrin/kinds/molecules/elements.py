"""The periodic table: symbols of the elements and their atomic numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from perrin.registry import unknown

_PERIODS = """
H He
Li Be B C N O F Ne
Na Mg Al Si P S Cl Ar
K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr
Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe
Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn
Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og
"""
SYMBOLS = tuple(_PERIODS.split())
NUMBERS = {symbol: number for number, symbol in enumerate(SYMBOLS, 1)}


def atomic_numbers(symbols: Sequence[str]) -> np.ndarray:
    """int64 [n].

    Raises:
        UnknownName: no such element.
    """
    for symbol in symbols:
        if symbol not in NUMBERS:
            raise unknown("element", symbol, SYMBOLS)
    return np.array([NUMBERS[symbol] for symbol in symbols], np.int64)


def symbol_of(number: int) -> str:
    """The symbol of an atomic number from 1 to 118."""
    return SYMBOLS[number - 1]
