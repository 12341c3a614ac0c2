"""`perrin likelihood`: how likely a model finds data, in nats and bits per dimension, and which items it finds odd."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from perrin.cli.common import Device, Json, choose_device, emit, progress


def command(
    model: Annotated[str, typer.Argument(help="A run folder, a model folder or a Hub id.")],
    data: Annotated[
        Path | None,
        typer.Argument(help="Data of the model's kind; by default what the run held out for judging."),
    ] = None,
    n: Annotated[
        int | None, typer.Option("-n", "--number", help="A fixed draw of so many items; else all.")
    ] = None,
    method: Annotated[
        Literal["ode", "bound", "both"] | None,
        typer.Option("--method", help="The probability flow (the default), the bound (texts), or both."),
    ] = None,
    label: Annotated[
        str, typer.Option("--label", help="Condition: 'own' labels of the data, 'none', or one class.")
    ] = "own",
    option: Annotated[
        list[str] | None,
        typer.Option("--data", metavar="KEY=VALUE", help="How to read DATA, such as subset=test."),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option("--against", help="Other data: how well do likelihoods tell them apart (AUC)?"),
    ] = None,
    rank: Annotated[
        int, typer.Option("--rank", help="Show so many of the least and of the most likely items.")
    ] = 0,
    draws: Annotated[int, typer.Option("--draws", help="Of the dequantisation noise, for integer data.")] = 2,
    samples: Annotated[
        int | None, typer.Option("--samples", help="Evaluations an item of the bound; 128 by default.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", help="Fixed steps of the flow; adaptive by default.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the noise that estimates draw.")] = 0,
    batch: Annotated[int | None, typer.Option("--batch", help="Items at a time.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="A folder for the values of every item and the ranking.")
    ] = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Say how likely a model finds data, with standard errors and parts.

    Integer data (pixels) get a probability, in bits per dimension; other data a density in their own units. The
    flow's value and the bound belong to two different densities: for a trained model either may be the larger. Texts
    have a bound, in bits per token. Series have the log-density of every horizon given what came before, per value.

    Example:
      perrin likelihood runs/digits
      perrin likelihood runs/mnist mnist.npz --data subset=test -n 256 --method both
      perrin likelihood runs/points points.csv --rank 16 --out odd
      perrin likelihood runs/prices prices.csv -n 50 --method both
      perrin likelihood runs/text sentences.txt --data 'separator="\\n"' --rank 10
    """
    from perrin.evaluate import likelihoods
    from perrin.evaluate.text_ranking import ranked, token_counts
    from perrin.loading import load

    loaded = load(model, device=choose_device(device))
    given = likelihoods.options(option or [])
    dataset = likelihoods.dataset(loaded, data, given, n)
    settings: dict[str, Any] = {"label": label, "draws": draws, "seed": seed, "batch": batch}
    settings |= {"samples": samples, "steps": steps}
    texts = loaded.codec.categories is not None
    one = method or ("bound" if texts else "ode")
    asked: tuple[Literal["ode", "bound"], ...] = ("ode", "bound") if one == "both" else (one,)
    found: dict[Literal["ode", "bound"], Any] = {}
    for name in asked:
        with progress(f"log-likelihood by {name}", len(dataset)) as advance:
            found[name] = likelihoods.measure(loaded, dataset, name, settings, advance)
    facts = likelihoods.summary(loaded, dataset, found)
    if against is not None:
        other = likelihoods.dataset(loaded, against, given, n)
        with progress("the other data", len(other)) as advance:
            strange = likelihoods.measure(loaded, other, asked[0], settings, advance)
        facts["against"] = likelihoods.separation(found[asked[0]], strange, len(other))
    if texts and rank:
        counts = token_counts(loaded, dataset)
        facts["ranking"] = ranked(dataset, found["bound"], counts, rank)
    if out is not None or (rank and not texts):
        target = out or Path("likelihood")
        facts["files"] = likelihoods.write(target, loaded, dataset, found, facts, rank or 16)
    if as_json:
        emit(facts)
    else:
        print(likelihoods.table(facts))
