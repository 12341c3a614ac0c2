"""Making a sample file again from its provenance: exactly at batch size one, within rounding otherwise."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageSequence

from perrin.editing import redoing
from perrin.errors import PerrinError
from perrin.forecasting.again import redrawn
from perrin.forecasting.futures import Forecast
from perrin.kinds.provenance import read_provenance
from perrin.loading import load
from perrin.model import Model
from perrin.registry import kinds
from perrin.sample import Plan
from perrin.samples import Samples, joined
from perrin.steering import again


@dataclass(frozen=True)
class Reproduction:
    """What came of making a file again: the samples or the forecast, and how far they are from the file's own values."""

    samples: Samples | Forecast | redoing.Again | redoing.EditAgain
    items: int
    identical: bool
    largest_difference: float
    tolerance: float
    model_hash: str


def reproduce(
    file: str | Path,
    *,
    model: str | None = None,
    classifier: str | None = None,
    weaker: str | None = None,
    device: str = "cpu",
) -> Reproduction:
    """Make the samples in a file again, one at a time.

    Args:
        file: what `perrin sample` or `perrin edit` wrote: a PNG, arrays or texts with their sidecar, or a GIF or page of
            the denoising.
        model: where the model is, when it has moved; classifier, weaker: likewise, of samples that one guided.

    Raises:
        PerrinError: a file without provenance, or a model that is not the one it names.
    """
    file = Path(file)
    said = read_provenance(file)
    if said.get("made_by") == "grid":
        raise PerrinError(f"{file} is a sheet of pictures, smaller; perrin repro makes the single ones again")
    items: list[dict[str, Any]] = said.get("items", [said])
    first = items[0] if items else {}
    if first.get("made_by") in ("restore", "edit"):
        redoing.refuse_other_files(file, said)
        return _remade(_load(model, first, file, device), file, first)
    for key in ("model_hash", "plan", "seed", "index", "guidance"):
        if key not in first:
            raise PerrinError(
                f"{file} does not say its {key!r}; only files of perrin sample can be made again"
            )
    loaded = _load(model, first, file, device)
    weak = _load(weaker, first, file, device, "weaker", loaded) if "weaker" in first else None
    if first.get("made_by") == "forecast":
        if _moves(file):
            raise PerrinError(
                f"{file} shows the paths of the table beside it: perrin repro makes that one again"
            )
        found = redrawn(loaded, items, weak)
        return _result(found, len(items), file, loaded)
    guide = _load(classifier, first, file, device, "classifier") if "classifier" in first else None
    drawn = [_draw(loaded, item, _moves(file), guide, weak) for item in items]
    samples = Samples(
        joined([s.state for s in drawn]),
        None,
        [s.provenance[0] for s in drawn],
        loaded.codec,
        drawn[0].evaluations,
        [joined(means) for means in zip(*(s.means for s in drawn), strict=True)],
        {n: torch.cat([s.condition[n] for s in drawn]) for n in drawn[0].condition},
    )
    return _result(samples, len(items), file, loaded)


def _remade(model: Model, file: Path, said: dict[str, Any]) -> Reproduction:
    """A restoration, or an edit, whose pixels may be two grey levels off where another machine rounds otherwise."""
    edit = said["made_by"] == "edit"
    made = redoing.edit_redone(model, file, said) if edit else redoing.redone(model, file, said)
    apart = float(np.abs(made.samples.astype(np.float64) - made.held).max())
    allowed = 2.0 if edit else 1e-3 * float(made.held.std())
    return Reproduction(made, len(made), apart == 0, apart, allowed, model.hash)


def _result(made: Samples | Forecast, items: int, file: Path, model: Model) -> Reproduction:
    difference, tolerance = _compare(made, model.codec.kind, file)
    return Reproduction(made, items, difference == 0, difference, tolerance, model.hash)


def write(samples: Samples | Forecast | redoing.Again | redoing.EditAgain, path: Path) -> None:
    """Write remade samples in the form that the name of the file asks for; a GIF or a page is their animation."""
    if _moves(path) and isinstance(samples, Samples):
        samples.save_trajectory(path)
    else:
        samples.save(path)


def _moves(path: Path) -> bool:
    return path.suffix.lower() in (".gif", ".html")


def _load(
    given: str | None,
    item: dict[str, Any],
    file: Path,
    device: str,
    role: str = "model",
    strong: Model | None = None,
) -> Model:
    """The model of a file, or what guided it, by its weights: where they were then, or where they are now.

    Weights alone are those of the network of `strong`.
    """
    place, option = given or item.get("folder" if role == "model" else role), f"--{role}"
    if place is None:
        raise PerrinError(f"{file} does not say where its {role} was; give it with {option}")
    try:
        weights = strong is not None and Path(place).is_file()
        dtype = item.get("dtype") if role == "model" else None
        found = (
            strong.weaker(place)
            if strong is not None and weights
            else load(place, device=device, dtype=dtype)
        )
    except PerrinError as error:
        if given is not None:
            raise
        raise PerrinError(f"{error}; if the {role} of {file} has moved, give it with {option}") from error
    if role == "model" and "changes" in item:
        from perrin.systems.latent.changes import repeated

        found = repeated(found, item["changes"])
    if found.hash != item[f"{role}_hash"]:
        raise PerrinError(
            f"{file} was made by weights {item[f'{role}_hash']}, and {place} holds {found.hash}; "
            f"give the right {role} with {option}"
        )
    return found


def _draw(
    model: Model, item: dict[str, Any], trace: bool, classifier: Model | None, weaker: Model | None
) -> Samples:
    conditions: dict[str, Any] = {
        name: item[name] for name in ("label", "length", "temperature", "top_p") if name in item
    }
    conditions |= item.get("wanted", {}) | again(item, weaker)
    if "known" in item:
        conditions["known"] = torch.tensor(item["known"])
    return model.sample(
        1,
        seed=item["seed"],
        first=item["index"],
        plan=Plan.from_recipe(item["plan"]),
        guidance=item["guidance"],
        classifier=classifier,
        reuse=item.get("reuse", 1),
        batch=1,
        trace=trace,
        **conditions,
    )


def _compare(samples: Samples | Forecast, kind: str, file: Path) -> tuple[float, float]:
    """(largest difference, what rounding explains) between the file and the remade samples, saved as it was."""
    read = _frames if file.suffix.lower() == ".gif" else kinds[kind].read_saved
    with tempfile.TemporaryDirectory() as folder:
        remade = Path(folder) / file.name
        write(samples, remade)
        old, new = (np.asarray(read(f), dtype=np.float64) for f in (file, remade))
    if new.shape != old.shape:
        raise PerrinError(f"{file} holds values of shape {old.shape}, and its description gives {new.shape}")
    # a network may round differently in a batch: two grey levels, or a thousandth of the spread
    pixels = file.suffix.lower() in (".png", ".gif")
    return float(np.abs(new - old).max()), 2.0 if pixels else 1e-3 * float(old.std())


def _frames(path: Path) -> np.ndarray:
    """The pixels of an animation, [frames, H, W, 3]."""
    with Image.open(path) as moving:
        return np.stack([np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(moving)])
