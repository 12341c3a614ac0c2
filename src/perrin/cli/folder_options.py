"""Options of `perrin sample` that say how a pretrained folder is opened, and what is done to the model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_PANEL = "Pretrained folders"

Lora = Annotated[
    list[str] | None,
    typer.Option(
        "--lora",
        help="A LoRA to merge into the weights (repeatable).",
        metavar="FILE[:SCALE]",
        rich_help_panel=_PANEL,
    ),
]
ControlNet = Annotated[
    list[Path] | None,
    typer.Option("--control-net", help="A folder of a ControlNet (repeatable).", rich_help_panel=_PANEL),
]
Upscaler = Annotated[
    list[str] | None,
    typer.Option(
        "--upscaler",
        help="A model that enlarges what those before it drew (repeatable).",
        metavar="FOLDER",
        rich_help_panel=_PANEL,
    ),
]
Seamless = Annotated[
    bool, typer.Option("--seamless", help="Pictures whose borders fit each other.", rich_help_panel=_PANEL)
]
Tiles = Annotated[
    int | None,
    typer.Option("--tiles", help="Decode in tiles of so many pixels.", rich_help_panel=_PANEL),
]
Dtype = Annotated[
    str | None,
    typer.Option(
        "--dtype",
        help="float32, bfloat16 or float16 (default float32 on a CPU, bfloat16 on a GPU).",
        rich_help_panel=_PANEL,
    ),
]
Offload = Annotated[
    str | None,
    typer.Option(
        "--offload",
        help="none, parts or layers: weights that wait off the GPU (default what fits).",
        rich_help_panel=_PANEL,
    ),
]
Compile = Annotated[
    bool, typer.Option("--compile", help="Compile the network: minutes at first.", rich_help_panel=_PANEL)
]
ChannelsLast = Annotated[
    bool,
    typer.Option(
        "--channels-last", help="Convolutions with channels last in memory.", rich_help_panel=_PANEL
    ),
]
