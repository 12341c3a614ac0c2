"""What the judge of a kind of data is given, and what it gives back.

A judge is a function `(case: Case, **options) -> Judged`, named in `registry.judges` under the kind's name; kinds without
one are judged as arrays are. Its options, annotated keywords, are what can be asked of that kind alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from torch import Tensor

from perrin.contracts import Dataset
from perrin.model import Model
from perrin.samples import Samples
from perrin.training.setup import Data

if TYPE_CHECKING:
    from PIL.Image import Image

Progress: TypeAlias = Callable[[str, int, int], None]
"""(what is being done, done, in all)."""


@dataclass
class Case:
    """A model and the data of its run; samples are drawn as the judge asks for them.

    Attributes:
        test: data that the model never met; count: of samples that are to be judged; k: neighbours, from the recipe.
        options: `seed`, `steps`, `solver` and `guidance` to draw samples with.
        seconds: of the CPU, that the first drawing took.
        asked: the class of the data that each sample was asked for, where that is not the model's own class of that index.
    """

    model: Model
    data: Data
    test: Dataset
    count: int
    k: int
    options: Mapping[str, Any]
    progress: Progress | None = None
    seconds: float | None = None
    asked: Tensor | None = None

    @property
    def seen(self) -> list[Dataset]:
        """What the model learnt from, and what watched it."""
        return [part for part in (self.data.train, self.data.validation) if part is not None]

    @property
    def told(self) -> Progress:
        """`progress`, or one that shows nothing."""
        return self.progress or (lambda *_: None)

    @cached_property
    def drawn(self) -> Samples:
        """So many samples of the model, as `options` say."""
        return self.sample(self.count)

    def sample(self, n: int, what: str = "sampling", **wanted: Any) -> Samples:
        """Samples of what is wanted (see `Model.sample`), with the options but for those that are given here."""
        started = time.process_time()
        found = self.model.sample(n, **{**self.options, **wanted}, progress=partial(self.told, what))
        self.seconds = time.process_time() - started if self.seconds is None else self.seconds
        return found


@dataclass(frozen=True)
class Judged:
    """Figures, JSON-able, and what a report shows of them: heading -> pictures, texts, pieces of a page (HTML).

    `drawn`: the samples that were judged; `suffix`: of the file that they are written to; `write`: puts further files
    into the folder.
    """

    drawn: Samples
    figures: dict[str, Any]
    suffix: str
    pictures: Mapping[str, Image | None] = field(default_factory=dict)
    texts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    fragments: Mapping[str, str] = field(default_factory=dict)
    write: Callable[[Path], None] | None = None
