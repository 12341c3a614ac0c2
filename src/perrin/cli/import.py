"""`perrin import`: weights that were trained elsewhere in a network of Perrin's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from perrin.cli.common import Json, emit, program


def command(
    place: Annotated[
        str,
        typer.Argument(
            help="A folder of a DiT or a UNet2DModel, or weights of the original DiT (safetensors)."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="The model folder to write.")],
    autoencoder: Annotated[
        Path | None, typer.Option("--autoencoder", help="Of such weights: the folder of their AutoencoderKL.")
    ] = None,
    heads: Annotated[
        int | None,
        typer.Option(
            "--heads", help="Of such weights: attention heads, where the size is not a published one."
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a model that is there.")] = False,
    as_json: Json = False,
) -> None:
    """Make a Perrin model of a DiT or a DDPM U-Net, with a recipe that trains it on.

    An autoencoder stays where it is: the model remembers its folder.

    Example:
      perrin import dit-xl-2-256 --out dit
      perrin train dit/fine-tune.yaml photos/ --from dit --out runs/dit-photos
      perrin import DiT-XL-2-256x256.safetensors --autoencoder sd/vae --out dit
    """
    from perrin.systems.latent.exporting.fine_tuning import RECIPE, write_model
    from perrin.systems.latent.exporting.importing import imported

    model = imported(place, autoencoder, heads)
    written = write_model(model, out, overwrite)
    net = model.design.net
    if as_json:
        emit({"folder": str(written), "hash": model.hash, "net": net, "recipe": str(written / RECIPE)})
        return
    parameters = sum(p.numel() for p in model.module.parameters())
    print(f"{written}: net {net['name']}, {parameters:,} parameters, hash {model.hash}    what to try next:")
    print(f"  {program()} sample {written} -n 4 --out samples")
    print(f"  {program()} train {written / RECIPE} PICTURES --from {written}")
