"""What every form of file promises: values in the units of the model's data, and results written back as it was."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from perrin.guide.operators import Operator


class Form(Protocol):
    """A file as someone has it.

    `where`: its name in messages. `size`: of its last axes, which a mask must have. `notes`: lines on what was done to
    fit it to the model.
    """

    @property
    def where(self) -> str: ...
    @property
    def size(self) -> tuple[int, ...]: ...
    @property
    def notes(self) -> list[str]: ...

    def values(self) -> Tensor:
        """What the file shows as the model's states show it, [n, *shape] float64 in the user's units."""
        ...

    def measured(self, operator: Operator) -> Tensor:
        """What the file holds as measurements of another shape than the states', [n, *measured]; must fit exactly."""
        ...

    def filled(self, hole: np.ndarray) -> Tensor:
        """bool, of a state's last axes: where anything of a hole (bool [*size]) is."""
        ...

    def write(self, name: str, values: Tensor, folder: Path, made: Mapping[str, Any]) -> list[Path]:
        """Write values [n, *shape]: "std", deviations, as plain numbers; all else as the file was."""
        ...

    def stripped(self) -> dict[str, Any] | None:
        """What of the file is not written again, where it may name a person; None where nothing can be."""
        ...
