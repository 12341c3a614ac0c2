"""Options of `perrin sample` that say how samples are steered."""

from __future__ import annotations

from typing import Annotated

import typer

_PANEL = "Guidance"

Guidance = Annotated[float | None, typer.Option("--guidance", help="Weight of the condition; 1 is none.")]
Classifier = Annotated[
    str | None,
    typer.Option(
        "--classifier",
        help="A classifier of noisy states, whose classes --label names and --guidance weighs (default 1).",
    ),
]
Interval = Annotated[
    tuple[float, float] | None,
    typer.Option(
        "--interval",
        help="Levels (log SNR) within which to guide.",
        metavar="LOW HIGH",
        rich_help_panel=_PANEL,
    ),
]
Rescale = Annotated[
    float | None,
    typer.Option(
        "--rescale",
        help="0 to 1: how far guided images keep the spread of unguided ones.",
        rich_help_panel=_PANEL,
    ),
]
Projected = Annotated[
    bool,
    typer.Option(
        "--projected",
        help="Leave out what saturates of the guidance, for large weights.",
        rich_help_panel=_PANEL,
    ),
]
Weaker = Annotated[
    str | None,
    typer.Option(
        "--weaker",
        help="Guide away from a weaker version of the model: another run, or weights such as RUN/ema/*.safetensors.",
        metavar="PATH",
        rich_help_panel=_PANEL,
    ),
]
TrueGuidance = Annotated[
    float | None,
    typer.Option(
        "--true-guidance",
        help="Of models with guidance in their weights: the weight away from --negative.",
        rich_help_panel=_PANEL,
    ),
]
