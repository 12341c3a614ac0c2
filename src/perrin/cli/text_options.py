"""Options of `perrin sample` for models of text: how texts begin, gaps to fill, how sure tokens are."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from perrin.errors import PerrinError

_PANEL = "Texts"

Infill = Annotated[
    str | None,
    typer.Option(
        "--infill",
        help="Of texts: a pattern with gaps to fill, each ___ (three or more) of as many tokens.",
        rich_help_panel=_PANEL,
    ),
]
Gap = Annotated[int | None, typer.Option("--gap", help="Tokens of each gap instead.", rich_help_panel=_PANEL)]
Length = Annotated[int | None, typer.Option("--length", help="Tokens of each text.", rich_help_panel=_PANEL)]
Temperature = Annotated[
    float | None,
    typer.Option("--temperature", help="Below 1: surer tokens, less variety.", rich_help_panel=_PANEL),
]
TopP = Annotated[
    float | None,
    typer.Option("--top-p", help="Draw from the likeliest tokens of this share.", rich_help_panel=_PANEL),
]


def beginning(
    model: Any, prompt: str | None, infill: str | None, gap: int | None, length: int | None
) -> dict[str, Any]:
    """What is known of texts before they are drawn, as `Model.sample` takes it."""
    if infill is None and gap is not None:
        raise PerrinError("--gap is the size of the gaps of --infill")
    if infill is not None and (prompt is not None or length is not None):
        raise PerrinError("--infill is a whole pattern; --prompt and --length are for texts that go on")
    if prompt is None and infill is None:
        return {"length": length}
    if not hasattr(model.codec, "known"):
        raise PerrinError("--prompt and --infill are for models of text")
    return {"known": model.codec.known(prompt, length) if infill is None else model.codec.infill(infill, gap)}
