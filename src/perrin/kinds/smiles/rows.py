"""The symbols of all molecules of a dataset, split once: as whole numbers in one array, kept in the cache.

Reading a SMILES and splitting it into SELFIES symbols takes half a millisecond, two minutes for ZINC's 240,000 molecules;
a second look at the same ones takes two seconds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from perrin.errors import PerrinError
from perrin.kinds.smiles.parsing import canonical
from perrin.kinds.smiles.symbols import spelling_of
from perrin.saving import cache_folder, replacing, write_json

MOST_UNKEPT = 1_000  # molecules that are split faster than one looks for them


@dataclass(frozen=True)
class Rows:
    """The symbols of molecules, one after another.

    Args:
        symbols: all that occur.
        tokens: indices into them, uint16.
        starts: [molecules + 1] where each begins.
        faults: why a molecule has no symbols, by its index.
    """

    symbols: tuple[str, ...]
    tokens: np.ndarray
    starts: np.ndarray
    faults: dict[int, str]

    def __getitem__(self, index: int) -> np.ndarray:
        return self.tokens[self.starts[index] : self.starts[index + 1]]


def rows(texts: Sequence[str], spelling: str) -> Rows:
    """The symbols of canonical SMILES, none for an empty one; of many from the cache where they are known."""
    file = cache_folder("molecules", f"{_key(texts, spelling, _version('selfies'))}.npz")
    if file.is_file():
        with np.load(file) as held:
            facts = json.loads(str(held["facts"]))
            faults = {int(index): reason for index, reason in facts["faults"].items()}
            return Rows(tuple(facts["symbols"]), held["tokens"], held["starts"], faults)
    made = _split(texts, spelling)
    if len(texts) > MOST_UNKEPT:
        facts = json.dumps({"symbols": made.symbols, "faults": made.faults})
        with replacing(file) as part, part.open("wb") as out:
            np.savez(out, facts=np.array(facts), tokens=made.tokens, starts=made.starts)
    return made


def _split(texts: Sequence[str], spelling: str) -> Rows:
    vocabulary = spelling_of(spelling)
    index, faults = dict[str, int](), dict[int, str]()
    tokens, lengths = bytearray(), [0]
    with vocabulary.spelling():
        for at, text in enumerate(texts):
            symbols = list[str]()
            try:
                symbols = vocabulary.split(text, "it")
            except PerrinError as error:
                faults[at] = _untold(error)
            found = [index.setdefault(symbol, len(index)) for symbol in symbols]
            tokens += np.array(found, np.uint16).data
            lengths.append(len(found))
    return Rows(tuple(index), np.frombuffer(tokens, np.uint16), np.cumsum(lengths), faults)


def canonicals(texts: Sequence[str]) -> tuple[list[str], dict[int, str]]:
    """Canonical SMILES, "" for what is no molecule, and why, by index; of many from the cache where they are known."""
    file = cache_folder("molecules", f"{_key(texts, 'canonical', _version('rdkit'))}.json")
    if file.is_file():
        held = json.loads(file.read_text(encoding="utf-8"))
        return held["texts"], {int(index): reason for index, reason in held["faults"].items()}
    found, faults = list[str](), dict[int, str]()
    for at, text in enumerate(texts):
        try:
            found.append(canonical(text, "it"))
        except PerrinError as error:
            found.append("")
            faults[at] = _untold(error)
    if len(texts) > MOST_UNKEPT:
        write_json(file, {"texts": found, "faults": faults})
    return found, faults


def _untold(error: PerrinError) -> str:
    """A reason without the place, which the reader of a cache adds."""
    return str(error).removeprefix("it: ")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # one that pip did not install
        return ""


def _key(texts: Iterable[str], *facts: Any) -> str:
    digest = hashlib.sha256(repr(facts).encode())
    for text in texts:
        digest.update(text.encode() + b"\n")
    return digest.hexdigest()
