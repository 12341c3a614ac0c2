"""A model that is drawn from first, and whose samples are part of what the next one is told.

    x1 ~ p1(x | text),    x2 ~ p2(x | text, x1)

Cascades (Ho et al. 2022: pictures of 64 pixels, from which those of 256 are drawn) and unCLIP (Ramesh et al. 2022: an
embedding, from which a picture is drawn) are both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from perrin.errors import PerrinError
from perrin.model import Model
from perrin.registry import unknown
from perrin.sample import Plan
from perrin.sample.noise import seed_of
from perrin.samples import Samples

SETTINGS = (
    "solver",
    "steps",
    "plan",
    "guidance",
    "interval",
    "rescale",
    "projected",
    "noise_level",
    "before",
)
"""What can be said of how the model before is drawn from: names of `Model.sample`'s arguments and of `outline`'s."""


@dataclass(frozen=True)
class Before:
    """A model that comes before another.

    Attributes:
        model: draws first. name: of its part, such as "prior"; two of one chain differ in it.
    """

    model: Model
    name: str

    def draw(
        self,
        n: int,
        seed: int | Sequence[int],
        first: int,
        settings: Mapping[str, Any] | None = None,
        **asked: Any,
    ) -> Samples:
        """Samples first .. first + n - 1, with noise that is independent of what follows: a function of (seed, name, i).

        Args:
            settings: see `SETTINGS`; the model's own by default. asked: what the samples are to be, such as a prompt.

        Raises:
            PerrinError: a setting that is not known, and as in `Model.sample`.
        """
        if settings is not None and not isinstance(settings, Mapping):
            raise PerrinError(
                f"before = {settings!r} must name settings of the {self.name}, such as {{'steps': 20}}"
            )
        told = dict(settings or {})
        for name in told:
            if name not in SETTINGS:
                raise unknown(f"setting of the {self.name}", name, SETTINGS)
        if isinstance(told.get("plan"), Mapping):
            told["plan"] = Plan.from_recipe(dict(told["plan"]), f"the plan of the {self.name}")
        own = (
            seed_of(seed, self.name, "before")
            if isinstance(seed, int)
            else [seed_of(one, self.name, "before") for one in seed]
        )
        return self.model.sample(n, seed=own, first=first, **told, **asked)


def settings_of(drawn: Samples, i: int) -> dict[str, Any]:
    """The settings that draw sample i again, whatever the model's own will be by then; JSON-able."""
    made = drawn.provenance[i]
    found = {name: made[name] for name in SETTINGS if made.get(name) is not None}
    wanted = made.get("wanted", {})
    return found | {name: wanted[name] for name in SETTINGS if name in wanted}
