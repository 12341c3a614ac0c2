"""`augment`: a labelled synthetic set beside real data, in their own layout."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from perrin.augmenting.drawing import draw
from perrin.augmenting.filtering import Filter, Options, Progress
from perrin.augmenting.outcome import Expansion
from perrin.augmenting.real import open_real
from perrin.augmenting.targets import check_target
from perrin.augmenting.wanted import wanted
from perrin.errors import PerrinError
from perrin.loading import load
from perrin.model import Model


def augment(
    model: str | Path | Model,
    data: str | Path,
    *,
    n: int | None = None,
    per_class: int | None = None,
    balance: bool = False,
    test: str | Path | Mapping[str, Any] | None = None,
    learned: str | Path | None = None,
    likelihood: float = 0.02,
    copies: float = 0.01,
    agree: bool = False,
    samples: int = 16,
    most: float = 3.0,
    seed: int = 0,
    classifier: str | Path | Model | None = None,
    drawing: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
    **options: Any,
) -> Expansion:
    """Draw labelled synthetic items for a set of images or arrays, and drop the unlikely ones and the copies.

    Nothing of the real data is among them. What held-out items score sets the thresholds.

    Args:
        model: with the classes of the data, or without any and a `classifier` of noisy states that guides it.
        data: a folder, parquet, npz, npy or csv: what the kind of the model reads.
        n: items in all, evenly over the classes; per_class: of each; balance: as many as each class has fewer than the
            largest. By default as many of each as there are real ones.
        test: real items that the model has not learned: a path, or options of the same one, such as {"subset": "test"}.
            By default the data's own part "test", what the model's run held out of the same data, or a fifth of them.
        learned: other data that the model has learned, such as those of the model that it was tuned from.
        likelihood, copies: shares of the held-out items below whose bound, or nearer than which to a real item, a
            synthetic one is dropped; 0 for no such filter. Copies are looked for in the data, those of the model's run, and
            `learned`.
        agree: drop what a classifier of the real items takes for another class.
        samples: network evaluations of an item's bound.
        most: how many times as many may be drawn until there are enough.
        seed: item i is a function of (seed, i) and its class.
        drawing: options of `Model.sample`, such as {"steps": 20, "guidance": 2.0}.
        out: where the set will be saved, to be refused now rather than then.
        progress: called with (what, done, in all).
        options: how to read the data: see `open` of their kind, such as subset="train".

    Returns:
        An `Expansion`: `.values`, `.labels`, `.lines()`, `.measure()`, `.save(path)`.

    Raises:
        PerrinError: data of another kind, classes that the model does not know, or items that are all dropped.
    """
    loaded = load(model, device=device) if isinstance(model, str | Path) else model
    guide = load(classifier, device=device) if isinstance(classifier, str | Path) else classifier
    chosen = Options(likelihood, copies, agree, samples)
    if most < 1:
        raise PerrinError(f"most = {most:g}: at least as many are drawn as are wanted, so give 1 or more")
    told = progress or (lambda *_: None)
    real = open_real(loaded, data, options, test, None if guide is None else guide.codec.classes, learned)
    if out is not None:
        check_target(real, Path(out))
    counts = wanted(real.counts, n=n, per_class=per_class, balance=balance)
    filters = Filter(loaded, real, chosen, told)
    more = {**(drawing or {}), **({} if guide is None else {"classifier": guide})}
    drawn = draw(loaded, counts, filters, seed=seed, most=most, drawing=more)
    about = {"seed": seed, "samples": samples, "likelihood": likelihood, "copies": copies, "agree": agree}
    return Expansion(loaded, real, counts, drawn, filters, about=about)


__all__ = ["augment"]
