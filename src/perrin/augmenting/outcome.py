"""A synthetic set in memory, what was dropped on its way, and what it is worth: written in the data's own layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from perrin.augmenting.drawing import Drawn
from perrin.augmenting.filtering import REASONS, Filter, Progress
from perrin.augmenting.layouts import Layout, Made
from perrin.augmenting.layouts.made import alike
from perrin.augmenting.measuring import SHOWN, Worth, worth
from perrin.augmenting.pictures import pictures
from perrin.augmenting.real import Part, Real
from perrin.augmenting.targets import check_target, report_folder
from perrin.errors import PerrinError
from perrin.kinds.images.pixels import channels_of
from perrin.model import Model
from perrin.saving import write_json, write_text


@dataclass
class Expansion:
    """What `perrin.augment` returns.

    Attributes:
        model, real: what it was drawn from, and what it stands beside.
        wanted: items of each class (or one number without classes).
        drawn: all items, kept and dropped; filters: with the thresholds that they were held against.
        worth: of a classifier, where `measure` was called.
    """

    model: Model
    real: Real
    wanted: list[int]
    drawn: Drawn
    filters: Filter
    worth: Worth | None = None
    about: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.drawn.rows(kept=True))

    @property
    def values(self) -> list[np.ndarray]:
        """The items that were kept, in the user's format."""
        return [self.drawn.values[row] for row in self.drawn.rows(kept=True)]

    @property
    def labels(self) -> list[int] | None:
        """Their classes, index into those of the data."""
        rows = self.drawn.rows(kept=True)
        return None if self.drawn.labels is None else self.drawn.labels[rows].tolist()

    @property
    def part(self) -> Part:
        """Their states and classes."""
        rows = self.drawn.rows(kept=True)
        return Part(self.drawn.states[rows], None if self.drawn.labels is None else self.drawn.labels[rows])

    def measure(self, *, seeds: int = 5, shown: int = SHOWN, progress: Progress | None = None) -> Worth:
        """What the set is worth: a classifier trained on real, synthetic and both; see `measuring.worth`."""

        def advance(done: int, total: int) -> None:
            if progress is not None:
                progress("training classifiers", done, total)

        found = worth(self.real.train, self.part, self.real.held, seeds=seeds, shown=shown, advance=advance)
        self.worth = found
        return found

    def save(self, path: str | Path, *, with_real: bool = False, resize: bool = False) -> list[Path]:
        """Write the set in the layout of the data, and a folder `NAME-report` beside it.

        Args:
            path: of the same form as the data: a folder, or a file of their suffix; nothing may be there yet.
            with_real: real items first, as they are.
            resize: bring pictures to the one size and the channels that all real ones have.

        Returns:
            The files of the set (its folder, where it is one), then those of the report.

        Raises:
            PerrinError: another suffix, something that is there already, or a file that cannot be written.
        """
        layout = check_target(self.real, Path(path))
        rows = self.drawn.rows(kept=True)
        made = Made(self.values, self.labels, self.real.classes, [self.drawn.provenance[row] for row in rows])
        made = self._resized(made) if resize else made
        files = layout.write(Path(path), made, with_real)
        return [Path(path) if layout.suffix == "" else files[0], *self._report(Path(path), layout)]

    def _resized(self, made: Made) -> Made:
        shapes = getattr(self.real.dataset, "shapes", None)
        if shapes is None:
            raise PerrinError("resize is for pictures; these are arrays")
        forms = np.unique(np.asarray(shapes), axis=0)
        if len(forms) > 1:
            raise PerrinError(
                f"the real pictures have {len(forms)} sizes or forms, so there is none to resize to"
            )
        height, width, channels = (int(number) for number in forms[0])
        said = [{**one, "resized": [height, width, channels]} for one in made.provenance]
        values = [alike(value, (height, width), channels) for value in made.values]
        if all(
            v.shape == o.shape and channels_of(v) == channels_of(o)
            for v, o in zip(values, made.values, strict=True)
        ):
            return made
        return replace(made, values=values, provenance=said)

    def _report(self, path: Path, layout: Layout) -> list[Path]:
        folder = report_folder(path, layout)
        write_text(folder / "report.txt", "\n".join(self.lines()) + "\n")
        write_json(folder / "report.json", self.summary())
        files = [folder / "report.txt", folder / "report.json"]
        for name, picture in pictures(self.drawn, self.real, self.model.codec).items():
            picture.save(folder / f"{name}.png")
            files.append(folder / f"{name}.png")
        return files

    def summary(self) -> dict[str, Any]:
        """JSON-able: how many of each class were drawn, dropped for which reason and kept."""
        drawn = self.drawn
        rows = {name: self._counts(label) for label, name in enumerate(self.real.classes or ["all"])}
        return {
            **self.about,
            "model_hash": self.model.hash,
            "data": str(self.real.path),
            "held_out": self.real.held_is,
            "held_out_items": len(self.real.held),
            "thresholds": self.filters.thresholds,
            "drawn": len(drawn.reasons),
            "kept": len(self),
            "dropped": {reason: drawn.count(reason) for reason in REASONS},
            "classes": rows,
            "worth": None if self.worth is None else self.worth.summary(),
        }

    def _counts(self, label: int) -> dict[str, int]:
        drawn = self.drawn
        counts = {reason: drawn.count(reason, label) for reason in ("", *REASONS)}
        real = self.real.counts[label]
        return {
            "real": real,
            "wanted": self.wanted[label],
            "drawn": sum(counts.values()),
            "kept": counts.pop(""),
            **counts,
        }

    def lines(self) -> list[str]:
        """The report in words."""
        facts, options = self.summary(), self.filters.options
        found = [f"{facts['kept']} synthetic items of model {self.model.hash}, for {self.real.path}", ""]
        heads = ("real", "wanted", "drawn", *REASONS, "kept")
        found.append(f"{'':<24}" + "".join(f"{head:>12}" for head in heads))
        for name, counts in facts["classes"].items():
            found.append(f"{name:<24}" + "".join(f"{counts[head]:>12}" for head in heads))
        found += [
            "",
            *self._explained(options.likelihood, options.copies, options.agree, facts["held_out_items"]),
        ]
        short = [n for n, c in facts["classes"].items() if c["kept"] < c["wanted"]]
        if short:
            found.append(
                f"fewer than wanted of {', '.join(short)}: too many were dropped; see dropped.png, and most"
            )
        return [*found, "", *self.worth.lines()] if self.worth is not None else found

    def _explained(self, likelihood: float, copies: float, agree: bool, held: int) -> Sequence[str]:
        limits = self.filters.thresholds
        found = [f"held-out: {held} items, {self.real.held_is}"]
        if likelihood:
            limit = f"{limits['likelihood']:.0f} nats"
            found.append(
                f"likelihood: dropped where log p is below {limit}, as it is of {likelihood:.0%} of the held-out items"
            )
        if copies:
            found.append(
                f"copy: dropped at {limits['copy']:.2f} or less of the usual distance to real items, where {copies:.0%} of "
                "the held-out items are"
            )
        if agree:
            found.append("class: dropped where a classifier of the real items gives another class")
        return found
