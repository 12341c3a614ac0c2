"""What was asked of a file of series, and what was noticed while it was read."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from perrin.errors import PerrinError
from perrin.kinds.series.numerals import Decimal

Unusable = Literal["refuse", "leave_out"]
Order = Literal["refuse", "sort"]


@dataclass(frozen=True)
class Reading:
    """What was asked of a file, and what was noticed on the way (`notes`, `left_out`)."""

    path: Path
    time: str | None
    day_first: bool | None
    decimal: Decimal | None
    unusable: Unusable
    order: Order
    frequency: str | None
    notes: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def decide(self, column: str, reason: str) -> None:
        """Refuse a column that cannot be used, or leave it out and say so."""
        if self.unusable == "refuse":
            raise PerrinError(
                f"column {column!r} of '{self.path}' {reason}; leave it out with unusable: leave_out, or name the ones "
                "that are meant with columns: [...]"
            )
        self.left_out.append(column)
        self.notes.append(f"column {column!r} was left out: it {reason}")
