"""Folk tunes by masked diffusion: train the recipe `abc`, draw tunes, and judge them beside real ones and 5-grams.

    python benchmarks/music/run.py --data music_abc/ --out runs/music-benchmark [--model RUN] [--samples 200]

Without `--model` the recipe `abc` is trained first, for the CPU-seconds that it says. A finished part leaves a file
and is not repeated. See README.md.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import perrin
from perrin.evaluate.tunes import DISTRIBUTIONS, distribution_picture, tune_figures
from perrin.kinds.music import read_provenance
from perrin.kinds.music.figures import figures
from perrin.kinds.music.notation import split_tunes
from perrin.training import recipe as recipes
from perrin.training.setup import open_data

ROWS = {
    "parses_share": "read by both readers",
    "bars_share": "8 bars or more",
    "whole_share": "80 % of the bars as long as the metre",
    "original_share": "copies no training tune",
    "good_share": "**all four**",
    "whole_bars": "bars as long as the metre, mean",
    **{f"{name}_distance": f"{name.replace('_', ' ')}: variation distance" for name in DISTRIBUTIONS},
}
EXAMPLES = 6
CHUNK = 50


def main() -> None:
    parser = argparse.ArgumentParser(description="Folk tunes by masked diffusion.")
    parser.add_argument("--data", type=Path, required=True, help="an .abc file or a folder of them")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", type=Path, help="a trained run, in the place of training the recipe")
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    folder = given.model or given.out / "run"
    if not (folder / "model.safetensors").exists():
        perrin.train("abc", out=folder, data={"path": str(given.data), "broken": "skip"}, overwrite=True)
    model = perrin.load(folder)
    tunes, made = drawn(model, given)
    report = given.out / "figures.json"
    if not report.exists():
        report.write_text(json.dumps(judged(model, folder, tunes, given), indent=1))
    found = json.loads(report.read_text())
    print(table(found))
    chosen = [i for i, tune in enumerate(tunes) if figures(tune).share >= 0.8][:EXAMPLES]
    folder = given.out / "examples"
    model.codec.save([tunes[i] for i in chosen], folder, [made[i] for i in chosen])
    spent = sum(one["cpu_seconds"] for one in made)
    print(f"{spent:.0f} CPU-s of sampling; {len(chosen)} of the tunes to listen to: {folder}")


def drawn(model: Any, given: argparse.Namespace) -> tuple[list[str], list[dict[str, Any]]]:
    """The sampled tunes and how each was made, in chunks that are kept."""
    tunes, made = list[str](), list[dict[str, Any]]()
    for first in range(0, given.samples, CHUNK):
        book = given.out / f"samples-{given.seed}-{first:05d}.abc"
        if not book.exists():
            count, started = min(CHUNK, given.samples - first), time.process_time()
            samples = model.sample(count, seed=given.seed * 10_000 + first)
            cpu = (time.process_time() - started) / count
            book.parent.mkdir(parents=True, exist_ok=True)
            model.codec.save(
                samples.decoded, book, [{**one, "cpu_seconds": cpu} for one in samples.provenance]
            )
        found = read_provenance(book)
        made += found.get("items", [found])
        tunes += split_tunes(book.read_text(encoding="utf-8"))
    return tunes, made


def judged(model: Any, folder: Path, tunes: list[str], given: argparse.Namespace) -> dict[str, Any]:
    """The figures, and the picture of the distributions."""
    stored = recipes.validate(recipes.read(folder / "recipe.yaml")).model_dump()
    data = open_data(recipes.validate(recipes.merge(stored, {"data": {"path": str(given.data)}})))
    found, judgements = tune_figures(tunes, model.codec, data.train, data.test, seed=given.seed)
    names = {"": "model", "_ceiling": "real, held out", "_baseline": "5-grams"}
    picture = distribution_picture({names[suffix]: one for suffix, one in judgements.items()})
    picture.save(given.out / "distributions.png")
    return found


def table(found: dict[str, Any]) -> str:
    """The figures as Markdown."""
    lines = ["| | model | real, held out | 5-grams |", "| --- | --- | --- | --- |"]
    for key, name in ROWS.items():
        cells = (f"{found[key + suffix]:.3f}" for suffix in ("", "_ceiling", "_baseline"))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
