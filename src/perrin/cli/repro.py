"""`perrin repro`: make a file again from what it says of itself, and compare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from perrin.cli.common import Device, Json, choose_device, emit
from perrin.errors import PerrinError


def command(
    file: Annotated[Path, typer.Argument(help="A file that perrin sample wrote.")],
    model: Annotated[
        str | None, typer.Option("--model", help="Where the model is now; by default where it was then.")
    ] = None,
    classifier: Annotated[
        str | None, typer.Option("--classifier", help="Where the classifier is now that guided the samples.")
    ] = None,
    weaker: Annotated[
        str | None,
        typer.Option(
            "--weaker", help="Where the weaker model is now that the samples were guided away from."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write the remade file here.")] = None,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Make a file again, one sample at a time, and say whether it is the same.

    Example:
      perrin repro sevens/00003_7.png
    """
    from perrin.reproduction import reproduce, write

    result = reproduce(file, model=model, classifier=classifier, weaker=weaker, device=choose_device(device))
    if out is not None:
        write(result.samples, out)
    facts: dict[str, Any] = {
        "items": result.items,
        "identical": result.identical,
        "largest_difference": result.largest_difference,
        "model_hash": result.model_hash,
    }
    if as_json:
        emit(facts)
    elif result.identical:
        print(f"{file}: {result.items} made again, identical")
    else:
        print(f"{file}: {result.items} made again; largest difference {result.largest_difference:g}")
    if result.largest_difference > result.tolerance:
        raise PerrinError(
            f"{file} is not what its own description gives: it was changed, or made by other software"
        )
