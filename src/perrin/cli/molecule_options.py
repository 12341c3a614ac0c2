"""Options of `perrin sample` for models of molecules: properties, scaffolds, and the molecule of conformers."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from perrin.errors import PerrinError

_PANEL = "Molecules"

Property = Annotated[
    list[str] | None,
    typer.Option(
        "--property",
        help="Of molecules: what they are to be, such as logp=2.5 (repeatable).",
        metavar="NAME=VALUE",
        rich_help_panel=_PANEL,
    ),
]
Scaffold = Annotated[
    str | None,
    typer.Option("--scaffold", help="Of molecules: atoms they must have, as SMILES.", rich_help_panel=_PANEL),
]
Smiles = Annotated[
    str | None, typer.Option("--smiles", help="Of conformers: the molecule.", rich_help_panel=_PANEL)
]


def wanted(model: Any, properties: list[str], given: dict[str, str | None]) -> dict[str, Any]:
    """What molecules are to be, as their codec's `outline` takes it."""
    found: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    for text in properties:
        name, equals, value = text.partition("=")
        try:
            found[name.strip()] = float(value)
        except ValueError:
            equals = ""
        if not equals:
            raise PerrinError(f"--property {text!r}: write NAME=VALUE, such as logp=2.5")
    if found and not hasattr(model.codec, "outline"):
        raise PerrinError("--property, --scaffold and --smiles are for models of molecules")
    return found
