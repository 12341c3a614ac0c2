"""`perrin augment`: a labelled synthetic set in the layout of the real one, filtered and measured."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from perrin.cli.common import Device, Json, choose_device, emit
from perrin.cli.series_data import parts_of_work


def command(
    model: Annotated[str, typer.Argument(help="A run folder, a model folder or a Hub id.")],
    data: Annotated[Path, typer.Argument(help="Images or arrays: a folder, .parquet, .npz, .npy or .csv.")],
    n: Annotated[
        int | None,
        typer.Option("-n", "--number", help="How many in all; as many as there are real ones by default."),
    ] = None,
    per_class: Annotated[int | None, typer.Option("--per-class", help="How many of each class.")] = None,
    balance: Annotated[
        bool, typer.Option("--balance", help="As many as each class has fewer than the largest.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="A folder or file of the form of DATA; NAME-synthetic by default."),
    ] = None,
    with_real: Annotated[bool, typer.Option("--with-real", help="Write the real items too, first.")] = False,
    resize: Annotated[
        bool, typer.Option("--resize", help="Bring pictures to the size that all real ones have.")
    ] = False,
    option: Annotated[
        list[str] | None,
        typer.Option("--data", metavar="KEY=VALUE", help="How to read DATA, such as subset=train."),
    ] = None,
    test: Annotated[
        str | None,
        typer.Option(
            "--test",
            help="Held-out real items: a path, or KEY=VALUE such as subset=test; else what DATA or the run holds out.",
        ),
    ] = None,
    learned: Annotated[
        Path | None,
        typer.Option(
            "--learned", help="Other data that the model has learned: copies of these are dropped too."
        ),
    ] = None,
    likelihood: Annotated[
        float,
        typer.Option(
            "--likelihood",
            help="Drop what is less likely than this share of held-out items; 0: nothing.",
            rich_help_panel="Filters",
        ),
    ] = 0.02,
    copies: Annotated[
        float,
        typer.Option(
            "--copies",
            help="Drop what lies nearer to a real item than this share of held-out items; 0: nothing.",
            rich_help_panel="Filters",
        ),
    ] = 0.01,
    agree: Annotated[
        bool,
        typer.Option(
            "--agree",
            help="Drop what a classifier of the real items takes for another class.",
            rich_help_panel="Filters",
        ),
    ] = False,
    most: Annotated[
        float,
        typer.Option(
            "--most", help="Draw up to so many times as many as are wanted.", rich_help_panel="Filters"
        ),
    ] = 3.0,
    measure: Annotated[
        bool | None,
        typer.Option(
            "--measure/--no-measure",
            help="Train a classifier on real, synthetic and both; where DATA have labels, by default.",
        ),
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", help="Of the classifiers that measure.")] = 5,
    seed: Annotated[int, typer.Option("--seed", help="Which items.")] = 0,
    steps: Annotated[int | None, typer.Option("--steps", help="Steps of the solver.")] = None,
    solver: Annotated[str | None, typer.Option("--solver", help="See perrin models --solvers.")] = None,
    guidance: Annotated[
        float | None, typer.Option("--guidance", help="Weight of the class; 1 is none.")
    ] = None,
    classifier: Annotated[
        str | None,
        typer.Option("--classifier", help="A classifier of noisy states, for a model without classes."),
    ] = None,
    batch: Annotated[
        int | None, typer.Option("--batch", help="Items at a time; what fits by default.")
    ] = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Expand a set of images or arrays with synthetic items of its classes, in its own layout.

    Items that the model finds unlikely and items that copy real ones are dropped, by what real held-out items score. The
    report beside the set says how many of which class, shows kept and dropped ones, and says what the set is worth: the
    accuracy of one classifier trained on real, on synthetic and on both. The set opens as the real data do.

    Example:
      perrin augment runs/mri slices.parquet --data subset=train --per-class 200
      perrin augment runs/photos photos/ --balance --with-real --out photos-balanced
      perrin augment runs/points points.csv -n 1000 --test unseen.csv --json
    """
    from perrin.augmenting.targets import usual_target
    from perrin.evaluate import likelihoods
    from perrin.expanding import augment

    given = likelihoods.options(option or [])
    held_out: Any = likelihoods.options([test]) if test and "=" in test else test
    drawing: dict[str, Any] = {"steps": steps, "solver": solver, "guidance": guidance, "batch": batch}
    target = out or usual_target(data)
    with parts_of_work() as progress:
        found = augment(
            model, data, n=n, per_class=per_class, balance=balance, test=held_out, learned=learned,
            likelihood=likelihood, copies=copies, agree=agree, most=most, seed=seed, classifier=classifier,
            drawing=drawing, out=target, device=choose_device(device), progress=progress, **given,
        )  # fmt: skip
        if measure or (measure is None and found.labels is not None):
            found.measure(seeds=seeds, progress=progress)
    files = found.save(target, with_real=with_real, resize=resize)
    if as_json:
        emit({**found.summary(), "files": files})
        return
    print("\n".join(found.lines()))
    print(f"\n{files[0]}, and {files[1].parent} with " + ", ".join(file.name for file in files[1:]))
