"""Likelihoods of a set of data: a table with standard errors and parts, and its items ranked, the odd ones first.

The items of series are forecasts whose horizons do not overlap: their log-densities are of these, given what came before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, cast

import torch
import yaml
from sklearn.metrics import roc_auc_score

from perrin.contracts import Dataset
from perrin.densities import Method, refuse_lossy
from perrin.errors import PerrinError
from perrin.evaluate.ranking_picture import ranking_picture
from perrin.evaluate.text_ranking import token_counts
from perrin.kinds.series import SeriesCodec
from perrin.likelihood import LogProb
from perrin.model import Model
from perrin.process.state import single
from perrin.registry import kinds
from perrin.saving import write_json
from perrin.training import recipe as recipes
from perrin.training.schema import check_options
from perrin.training.setup import open_data

Results: TypeAlias = Mapping[Method, LogProb]


def options(pairs: Sequence[str]) -> dict[str, Any]:
    """`["subset=test"]` -> `{"subset": "test"}`; values are YAML."""
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise PerrinError(f"--data {pair!r}: write key=value, such as subset=test")
        try:
            found[name] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise PerrinError(f"--data {pair!r}: the value is not YAML") from error
    return found


def dataset(model: Model, path: Path | None, given: Mapping[str, Any], n: int | None) -> Dataset:
    """The data at a path, read as the model's kind; without one, what its run held out.

    Raises:
        PerrinError: no such data, options that its kind does not have, a model without held-out data, or of latents.
    """
    refuse_lossy(model)
    if path is None:
        whole = _held_out(model, given)
    else:
        opener = kinds[model.codec.kind].open
        whole = opener(**check_options(opener, {"path": str(path), **given}, "--data"))
    if n is not None and n < 1:
        raise PerrinError(f"-n {n}: give at least 1 item")
    if isinstance(model.codec, SeriesCodec):
        windows: Any = model.codec.cut(whole)
        return cast("Dataset", windows.apart(model.codec.horizon, n))
    return whole if n is None or n >= len(whole) else whole.split(n, 0)[1]  # stratified by class


def _held_out(model: Model, given: Mapping[str, Any]) -> Dataset:
    recipe = None if model.folder is None else model.folder / "recipe.yaml"
    if recipe is None or not recipe.is_file():
        raise PerrinError("give DATA: this model has no recipe that says where its own data are")
    if given:
        raise PerrinError("--data says how to read DATA, and no DATA is given")
    held = open_data(recipes.validate(recipes.read(recipe))).test
    if held is None:
        raise PerrinError("give DATA: this run held none of its own data out (held_out or test)")
    return held


def measure(
    model: Model, data: Dataset, method: Method, settings: Mapping[str, Any], advance: Callable[[int], None]
) -> LogProb:
    """`Model.log_prob` with the settings that the method takes; `advance` is told the items done."""
    own = {"ode": ("steps",), "bound": ("samples",)}
    chosen = {k: settings[k] for k in ("label", "seed", "batch")}
    chosen |= {k: settings[k] for k in own[method] if settings[k] is not None}
    if model.codec.lattice is not None and method == "ode":
        chosen["draws"] = settings["draws"]
    return model.log_prob(data, method=method, progress=advance, **chosen)


def summary(model: Model, data: Dataset, found: Results) -> dict[str, Any]:
    """What the table shows, JSON-able."""
    kind, size = _kind_and_size(model, data)
    facts: dict[str, Any] = {
        "items": len(data),
        "dimensions": size,
        "data": kind,
        "model_hash": model.hash,
        "methods": {name: _of_method(result, size) for name, result in found.items()},
    }
    if len(found) == 2:
        gap = (found["bound"].value - found["ode"].value) / size
        facts["bound_minus_ode_nats_per_dimension"] = float(gap.nanmean())
    return facts


def _kind_and_size(model: Model, data: Dataset) -> tuple[str, float]:
    """What the data are, and how many numbers (tokens, values of a horizon) an item has on average."""
    codec = model.codec
    if codec.categories is not None:
        return "texts", sum(token_counts(model, data)) / len(data)
    if isinstance(codec, SeriesCodec):
        masks = [codec.encode([data[i]]).masks for i in range(len(data))]
        return "series", sum(int(m.learned.sum()) for m in masks if m and m.learned is not None) / len(data)
    return "integer" if codec.lattice is not None else "continuous", math.prod(single(codec.shape))


def _of_method(result: LogProb, size: float) -> dict[str, Any]:
    kept = result.converged
    mean, stderr = result.mean()
    bits = size * math.log(2)
    return {
        "nats": mean,
        "stderr": stderr,
        "stderr_of_an_item": float(result.stderr[kept].nanmean()) if bool(kept.any()) else math.nan,
        "bits_per_dimension": -mean / bits,
        "bits_stderr": stderr / bits,
        "nats_per_dimension": mean / size,
        "nats_per_dimension_stderr": stderr / size,
        "parts": {name: float(part[kept].mean()) for name, part in result.parts.items()},
        "prior_mismatch": None if result.mismatch is None else float(result.mismatch[kept].mean()),
        "not_converged": int((~kept).sum()),
        "evaluations": result.evaluations,
    }


def separation(own: LogProb, other: LogProb, count: int) -> dict[str, Any]:
    """How well a low likelihood tells other data from these: AUC, 1 is perfect and .5 is chance."""
    values = torch.cat([own.value[own.converged], other.value[other.converged]])
    strange = torch.cat([torch.zeros(int(own.converged.sum())), torch.ones(int(other.converged.sum()))])
    if len(strange.unique()) < 2:
        raise PerrinError("no item of one of the two sets has a likelihood, so they cannot be compared")
    return {
        "items": count,
        "auc": float(roc_auc_score(strange, -values)),
        "nats": other.mean()[0],
        "not_converged": int((~other.converged).sum()),
    }


def table(facts: Mapping[str, Any]) -> str:
    """The summary for people."""
    units = {"texts": "bits per token", "integer": "bits per dimension"}
    unit = units.get(facts["data"], "bits per dimension (density)")
    what = f"items of {facts['dimensions']} dimensions, {facts['data']} data"
    rows = [("nats per item", "nats", "stderr"), (unit, "bits_per_dimension", "bits_stderr")]
    if facts["data"] == "texts":
        what = f"items of {facts['dimensions']:.1f} tokens on average"
    if facts["data"] == "series":  # in the units of the columns, which differ
        what = f"forecasts of {facts['dimensions']:g} values, given what came before; log-densities in the data's units"
        rows = [
            ("nats per window", "nats", "stderr"),
            ("nats per value", "nats_per_dimension", "nats_per_dimension_stderr"),
        ]
    lines = [f"{facts['items']} {what}", ""]
    lines.append(f"{'':<24}" + "".join(f"{name:>22}" for name in facts["methods"]))
    for title, key, error in rows:
        cells = [f"{m[key]:.4f} +- {m[error]:.4f}" for m in facts["methods"].values()]
        lines.append(f"{title:<24}" + "".join(f"{cell:>22}" for cell in cells))
    for part in dict.fromkeys(p for m in facts["methods"].values() for p in m["parts"]):
        cells = [f"{m['parts'][part]:.3f}" if part in m["parts"] else "-" for m in facts["methods"].values()]
        lines.append(f"{'  of which ' + part:<24}" + "".join(f"{cell:>22}" for cell in cells))
    for name, m in facts["methods"].items():
        if m["not_converged"]:
            lines.append(
                f"{name}: {m['not_converged']} of {facts['items']} items did not converge and are left out"
            )
    if "bound_minus_ode_nats_per_dimension" in facts:
        gap = facts["bound_minus_ode_nats_per_dimension"]
        lines.append(
            f"bound - ode: {gap:+.4f} nats per dimension (two densities of one network; either may be larger)"
        )
    if "against" in facts:
        other = facts["against"]
        lines.append(
            f"other data: {other['items']} items, {other['nats']:.2f} nats; told apart with AUC {other['auc']:.4f}"
        )
    lines += ["", *facts["ranking"], ""] if "ranking" in facts else []
    lines += [f"written: {file}" for file in facts.get("files", [])]
    return "\n".join(lines)


def write(
    folder: Path,
    model: Model,
    data: Dataset,
    found: Results,
    facts: Mapping[str, Any],
    rank: int,
) -> list[Path]:
    """likelihood.json with every item, the least likely first, and a picture of both ends of the ranking."""
    name, result = next(iter(found.items()))
    order = torch.argsort(result.value).tolist()  # NaN, an item without a number, goes last
    items = [
        {"name": str(data[i]["name"]), "index": i, "label": data[i]["label"]}
        | {m: float(r.value[i]) for m, r in found.items()}
        | {f"{m}_stderr": float(r.stderr[i]) for m, r in found.items()}
        | {"converged": all(bool(r.converged[i]) for r in found.values())}
        for i in order
    ]
    listing = folder / "likelihood.json"
    write_json(listing, _without_nan({**facts, "ranked_by": name, "ranking": items}))
    picture = ranking_picture(model, data, result, order, rank)
    if picture is None:
        return [listing]
    picture.save(folder / "ranking.png")
    return [listing, folder / "ranking.png"]


def _without_nan(value: Any) -> Any:
    """Nothing (null) where there is no number: items that did not converge, means of none; JSON has no NaN."""
    if isinstance(value, Mapping):
        return {key: _without_nan(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(one) for one in value]
    return None if isinstance(value, float) and math.isnan(value) else value
