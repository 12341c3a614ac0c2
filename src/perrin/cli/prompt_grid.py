"""Pictures of many prompts in mixed batches: single files, and a sheet with prompts down and seeds across."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perrin.cli.prompt_lines import Line, of_line, read
from perrin.errors import PerrinError, check_counts
from perrin.restoration.strength import starting

SETTINGS = ("guidance", "steps", "solver", "strength")
"""What a line may say for itself that `Model.sample` takes one each of."""


@dataclass(frozen=True)
class Drawn:
    """The samples, line by line, and the files that hold them, the sheet first."""

    samples: Any
    files: list[Path]


def draw(
    model: Any,
    path: Path,
    n: int,
    target: Path,
    options: Mapping[str, Any],
    report: Callable[[int, int], None],
) -> Drawn:
    """Draw n pictures of every line of a file, of the seeds seed, seed + 1, ...

    Args:
        target: the sheet (.png), beside which a folder of its name gets the single pictures; or a folder for all.
        options: of `Model.sample`, for what a line does not say.

    Raises:
        PerrinError: what cannot be drawn, by its line.
    """
    check_counts(n=n)
    if options.get("prompt") is not None or options["trace"]:
        other = "--trajectory" if options["trace"] else "--prompt"
        raise PerrinError(f"{other} goes without --grid, whose lines are the prompts")
    if target.suffix.lower() not in ("", ".png") and not target.is_dir():
        raise PerrinError(f"a sheet of pictures is saved as .png or into a folder, not '{target}'")
    lines = read(path)
    rows = [(line, line.flags.get("seed", options["seed"]) + j) for line in lines for j in range(n)]
    asked, seeds = _asked([line for line, _ in rows], options), [seed for _, seed in rows]
    try:
        samples = model.sample(len(rows), progress=report, **{**asked, "seed": seeds})
    except PerrinError as error:
        _blame(model, path, lines, options)
        raise error
    return Drawn(samples, _saved(samples, lines, seeds, n, target))


def _asked(lines: Sequence[Line], options: Mapping[str, Any]) -> dict[str, Any]:
    """What `Model.sample` is told: lists of what any line says, one each."""
    told = dict(options)
    for name in (*SETTINGS, "negative"):
        if any(name in line.flags for line in lines):
            told[name] = [line.flags.get(name, options.get(name)) for line in lines]
    told["prompt"] = [line.prompt for line in lines]
    return told


def _blame(model: Any, path: Path, lines: Sequence[Line], options: Mapping[str, Any]) -> None:
    """Raise the error of the line that has one by itself, if any has."""
    for line in lines:
        own = _asked([line], options)
        one = {name: value[0] if isinstance(value, list) else value for name, value in own.items()}
        try:
            if one["plan"] is not None and line.flags.keys() & {"solver", "steps"}:
                raise PerrinError("a plan (--plan) holds its own solver and steps")
            plan = one["plan"] or model.plan(one["solver"], one["steps"], fitted=False)
            if one.get("strength") is not None:
                starting(plan, one["strength"])
            if getattr(model.codec, "text", None) is not None:
                model.codec.text([text for text in (one["prompt"], one.get("negative")) if text])
        except PerrinError as error:
            raise of_line(path, line.number, error) from error


def _saved(samples: Any, lines: Sequence[Line], seeds: Sequence[int], n: int, target: Path) -> list[Path]:
    from perrin.kinds.files import item_file
    from perrin.kinds.images.gallery import IN_GRID, save_png
    from perrin.kinds.images.sheets import labelled

    alone = target.suffix.lower() == ".png"
    folder, sheet = (target.with_suffix(""), target) if alone else (target, target / "sheet.png")
    files = []
    for i, (pixels, made) in enumerate(zip(samples.decoded, samples.provenance, strict=True)):
        name = item_file(1 + i // n, f"{lines[i // n].prompt[:40]}_seed-{seeds[i]}", ".png")
        files += samples.codec.save([pixels], folder / name, [made])
    picture = labelled(samples.decoded, _row_labels(lines, seeds[::n]), _column_labels(seeds[::n], n))
    made = {"made_by": "grid", "items": list(samples.provenance[:IN_GRID])}
    return [save_png(picture, sheet, made), *files]


def _row_labels(lines: Sequence[Line], seeds: Sequence[int]) -> list[tuple[str, str]]:
    """(prompt, what else its line says); with its first seed where lines have others."""
    told = [line.flags for line in lines]
    if len(set(seeds)) > 1:
        told = [{**flags, "seed": seed} for flags, seed in zip(told, seeds, strict=True)]
    return [
        (line.prompt, "\n".join(f"{name} {_short(value)}" for name, value in flags.items()))
        for line, flags in zip(lines, told, strict=True)
    ]


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _column_labels(seeds: Sequence[int], n: int) -> list[str]:
    """The seeds, or what is added to each row's first."""
    if len(set(seeds)) == 1:
        return [f"seed {seeds[0] + j}" for j in range(n)]
    return ["seed", *(f"seed + {j}" for j in range(1, n))]
