"""What a search for drugs keeps: molecules that pass simple rules, the most drug-like first.

kept = Filter.parse("lipinski,qed=0.5,sa=4").keep(molecules)

Lipinski's rule of five (Lipinski et al. 1997, doi:10.1016/S0169-409X(96)00423-1): at most one of weight > 500 dalton,
logP > 5, more than 5 donors, more than 10 acceptors of hydrogen bonds. QED: drug-likeness, 0 to 1 (Bickerton et al.
2012). SA: synthetic accessibility, 1 easy to 10 hard (Ertl and Schuffenhauer 2009).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from perrin.errors import PerrinError
from perrin.evaluate.molecule_reading import Value, rdkit_of
from perrin.kinds.molecules.describing import LIMITS, describe
from perrin.registry import unknown

NAMES = ("qed", "sa", "weight", "logp", "donors", "acceptors")
FORM = "such as lipinski,qed=0.5,sa=4"


@dataclass(frozen=True)
class Kept:
    """Which molecules passed, as indices, the highest QED first, with the numbers of each.

    `passed`: how many pass each rule by itself; `read`: how many were molecules in one piece, of `count`.
    """

    indices: list[int] = field(default_factory=list)
    properties: list[dict[str, float]] = field(default_factory=list)
    passed: dict[str, int] = field(default_factory=dict)
    read: int = 0
    count: int = 0


@dataclass(frozen=True)
class Filter:
    """Rules of which all must hold; None: no such rule.

    Args:
        lipinski: at most one of the rule of five's four limits is crossed.
        qed: the least drug-likeness; sa: the highest synthetic accessibility score.
    Raises:
        PerrinError: a threshold that nothing or everything meets, or no rule at all.
    """

    lipinski: bool = False
    qed: float | None = None
    sa: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("qed", self.qed), ("sa", self.sa)):
            low, high = LIMITS[name]
            if value is not None and not low <= value <= high:
                raise PerrinError(f"filter {name} = {value:g}: {name} lies between {low:g} and {high:g}")
        if not self.rules:
            raise PerrinError(f"a filter needs a rule, {FORM}")

    @classmethod
    def parse(cls, text: str) -> Filter:
        """The filter of a line such as "lipinski,qed=0.5,sa=4".

        Raises:
            PerrinError: an unknown rule (with the nearest), one given twice, or a threshold that is no number.
        """
        found: dict[str, float | bool] = {}
        for part in text.split(","):
            name, given, number = (piece.strip() for piece in part.partition("="))
            if name not in ("lipinski", "qed", "sa"):
                raise unknown("filter", name, ("lipinski", "qed", "sa"))
            if name in found:
                raise PerrinError(f"filter {name!r} is given twice in {text!r}")
            if (name == "lipinski") == bool(given):
                raise PerrinError(f"filter {part.strip()!r} should read {FORM}")
            try:
                found[name] = float(number) if given else True
            except ValueError as error:
                raise PerrinError(f"filter {name} = {number!r} is not a number; {FORM}") from error
        return cls(**found)  # type: ignore[arg-type]  # lipinski is True, the others are numbers

    @property
    def rules(self) -> list[str]:
        """The rules in words, such as "qed >= 0.5"."""
        made = ["lipinski"] if self.lipinski else []
        made += [] if self.qed is None else [f"qed >= {self.qed:g}"]
        return made + ([] if self.sa is None else [f"sa <= {self.sa:g}"])

    def passes(self, properties: dict[str, float]) -> dict[str, bool]:
        """Which of its rules a molecule's properties (`NAMES`) meet, by the words of `rules`."""
        found = [violations(properties) <= 1] if self.lipinski else []
        found += [] if self.qed is None else [properties["qed"] >= self.qed]
        found += [] if self.sa is None else [properties["sa"] <= self.sa]
        return dict(zip(self.rules, found, strict=True))

    def keep(self, values: Iterable[Value]) -> Kept:
        """The molecules that meet all rules; those that are none, or are in pieces, do not.

        Raises:
            PerrinError: RDKit, or its SA score, is not installed.
        """
        best: list[tuple[float, int, dict[str, float]]] = []
        passed, read, count = dict.fromkeys(self.rules, 0), 0, 0
        for index, value in enumerate(values):
            count += 1
            found = _properties(value)
            if found is None:
                continue
            read += 1
            met = self.passes(found)
            for rule, holds in met.items():
                passed[rule] += holds
            if all(met.values()):
                best.append((-found["qed"], index, found))
        best.sort(key=lambda one: one[:2])
        return Kept([i for _, i, _ in best], [p for _, _, p in best], passed, read, count)


def violations(properties: dict[str, float]) -> int:
    """How many of the rule of five's limits a molecule crosses."""
    limits: Sequence[tuple[str, float]] = (("weight", 500), ("logp", 5), ("donors", 5), ("acceptors", 10))
    return sum(properties[name] > most for name, most in limits)


def _properties(value: Value) -> dict[str, float] | None:
    from rdkit import Chem

    try:
        mol = rdkit_of(value)
    except PerrinError:
        return None
    return describe(mol, NAMES) if len(Chem.GetMolFrags(mol)) == 1 else None
