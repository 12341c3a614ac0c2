"""Likelihoods of a set of data: a table with standard errors and parts, and its items ranked, the odd ones first."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import torch
import yaml
from PIL import Image, ImageDraw, ImageFont
from sklearn.metrics import roc_auc_score

from perrin.contracts import Dataset
from perrin.densities import Method
from perrin.errors import PerrinError
from perrin.evaluate.pictures import tile
from perrin.evaluate.text_ranking import token_counts
from perrin.likelihood import LogProb
from perrin.model import Model
from perrin.process.state import single
from perrin.registry import kinds
from perrin.saving import write_json
from perrin.training import recipe as recipes
from perrin.training.schema import check_options
from perrin.training.setup import open_data

Results: TypeAlias = Mapping[Method, LogProb]

CELL = 56


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
        PerrinError: no such data, options that its kind does not have, or a model without held-out data.
    """
    if path is None:
        whole = _held_out(model, given)
    else:
        opener = kinds[model.codec.kind].open
        whole = opener(**check_options(opener, {"path": str(path), **given}, "--data"))
    if n is not None and n < 1:
        raise PerrinError(f"-n {n}: give at least 1 item")
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
    texts = model.codec.categories is not None
    size = sum(token_counts(model, data)) / len(data) if texts else math.prod(single(model.codec.shape))
    facts: dict[str, Any] = {
        "items": len(data),
        "dimensions": size,
        "data": "texts" if texts else "integer" if model.codec.lattice is not None else "continuous",
        "model_hash": model.hash,
        "methods": {name: _of_method(result, size) for name, result in found.items()},
    }
    if len(found) == 2:
        gap = (found["bound"].value - found["ode"].value) / size
        facts["bound_minus_ode_nats_per_dimension"] = float(gap.nanmean())
    return facts


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
    what = f"{facts['dimensions']} dimensions, {facts['data']} data"
    if facts["data"] == "texts":
        what = f"{facts['dimensions']:.1f} tokens on average"
    lines = [f"{facts['items']} items of {what}", ""]
    lines.append(f"{'':<24}" + "".join(f"{name:>22}" for name in facts["methods"]))
    rows = [("nats per item", "nats", "stderr"), (unit, "bits_per_dimension", "bits_stderr")]
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
    write_json(listing, {**facts, "ranked_by": name, "ranking": items})
    picture = _picture(model, data, result, order, rank)
    if picture is None:
        return [listing]
    picture.save(folder / "ranking.png")
    return [listing, folder / "ranking.png"]


def _picture(
    model: Model, data: Dataset, result: LogProb, order: Sequence[int], rank: int
) -> Image.Image | None:
    """The least likely items over the most likely ones, each with its nats."""
    known = [i for i in order if bool(result.converged[i])]
    rows = {"least likely": known[:rank], "most likely": known[::-1][:rank]}
    strips = []
    for title, indices in rows.items():
        drawn = [
            model.codec.picture(model.codec.decode(model.codec.encode([data[i]]).state)) for i in indices
        ]
        pictures = [picture for picture in drawn if picture is not None]
        if len(model.codec.shape) < 2 or len(pictures) < len(indices) or not indices:
            return None  # a plot of a single point says nothing
        strips.append(_strip(title, pictures, [float(result.value[i]) for i in indices]))
    sheet = Image.new("RGB", (max(s.width for s in strips), sum(s.height + 8 for s in strips)), "white")
    top = 0
    for strip in strips:
        sheet.paste(strip, (0, top))
        top += strip.height + 8
    return sheet


def _strip(title: str, pictures: Sequence[Image.Image], nats: Sequence[float]) -> Image.Image:
    columns = min(8, len(pictures))
    cells = []
    font = ImageFont.load_default(12)
    for picture, value in zip(pictures, nats, strict=True):
        factor = max(1, round(CELL / max(picture.size)))
        large = picture.convert("RGB").resize((picture.width * factor, picture.height * factor), 0)
        cell = Image.new("RGB", (max(large.width, 72), large.height + 18), "white")
        cell.paste(large, ((cell.width - large.width) // 2, 0))
        ImageDraw.Draw(cell).text((cell.width / 2, large.height + 9), f"{value:.0f}", "black", font, "mm")
        cells.append(cell)
    sheet = tile(cells, columns, cell=max(cells[0].size))
    headed = Image.new("RGB", (sheet.width, sheet.height + 22), "white")
    ImageDraw.Draw(headed).text((2, 10), f"{title}, nats", "black", font, "lm")
    headed.paste(sheet, (0, 22), sheet)
    return headed
