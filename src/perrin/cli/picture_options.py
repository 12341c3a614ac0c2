"""Options of `perrin sample` that say what pictures of pretrained folders are to be."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_PANEL = "Prompts"

Prompt = Annotated[
    str | None,
    typer.Option("--prompt", help="What pictures show; of texts: how they begin.", rich_help_panel=_PANEL),
]
Negative = Annotated[
    str | None, typer.Option("--negative", help="What pictures do not show.", rich_help_panel=_PANEL)
]
Grid = Annotated[
    Path | None,
    typer.Option(
        "--grid",
        help="A file with a prompt a line, and flags such as --guidance 7 after it: a sheet of -n pictures each.",
        rich_help_panel=_PANEL,
    ),
]
Height = Annotated[
    int | None, typer.Option("--height", help="Of such pictures, in pixels.", rich_help_panel=_PANEL)
]
Width = Annotated[
    int | None, typer.Option("--width", help="Of such pictures, in pixels.", rich_help_panel=_PANEL)
]
Image = Annotated[
    Path | None,
    typer.Option("--image", help="A picture to begin at, or to fill a hole in.", rich_help_panel=_PANEL),
]
Strength = Annotated[
    float | None,
    typer.Option("--strength", help="0 to 1: how far from the picture (default .6).", rich_help_panel=_PANEL),
]
Mask = Annotated[
    Path | None,
    typer.Option("--mask", help="Of the picture: white where to fill it.", rich_help_panel=_PANEL),
]
VariationOf = Annotated[
    Path | None,
    typer.Option(
        "--variation-of", help="A picture to draw others like, of models that do.", rich_help_panel=_PANEL
    ),
]
NoiseLevel = Annotated[
    int | None,
    typer.Option(
        "--noise-level", help="How much noise is put on what a picture follows.", rich_help_panel=_PANEL
    ),
]
Control = Annotated[
    list[Path] | None,
    typer.Option(
        "--control", help="A picture for the ControlNet (one for each of them).", rich_help_panel=_PANEL
    ),
]
ControlScale = Annotated[
    list[float] | None,
    typer.Option(
        "--control-scale",
        help="How much it counts (default 1; one for each ControlNet).",
        rich_help_panel=_PANEL,
    ),
]
Before = Annotated[
    list[str] | None,
    typer.Option(
        "--before",
        help="How the model before is drawn from, such as steps=20 (repeatable).",
        metavar="NAME=VALUE",
        rich_help_panel=_PANEL,
    ),
]
