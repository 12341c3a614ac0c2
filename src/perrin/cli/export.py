"""`perrin export`: a model as a folder that diffusers loads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from perrin.cli.common import Json, emit
from perrin.errors import PerrinError


def command(
    model: Annotated[
        str, typer.Argument(help="A run folder, a model folder, a pretrained folder or a Hub id.")
    ],
    out: Annotated[Path, typer.Option("--out", help="The folder to write.")],
    lora: Annotated[
        list[str] | None,
        typer.Option(
            "--lora",
            help="Merge a LoRA into a pretrained folder: FILE or FILE:SCALE (repeatable).",
            metavar="FILE:SCALE",
        ),
    ] = None,
    control_net: Annotated[
        Path | None,
        typer.Option("--control-net", help="Put a ControlNet beside its components.", metavar="FOLDER"),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a model that is there.")] = False,
    as_json: Json = False,
) -> None:
    """Write a model in the layout of diffusers, which its pipelines load and draw the same from.

    Models of a chain of steps can be written: net ddpm_unet (UNet2DModel) and dit (DiTTransformer2DModel); of a
    pretrained folder one with LoRAs merged into it.

    Example:
      perrin export runs/chain --out chain
      perrin export stable-diffusion --lora style.safetensors:0.8 --out styled
    """
    from perrin.loading import load
    from perrin.systems.latent.exporting.natives import write_native
    from perrin.systems.latent.folder_model import Pretrained

    loaded = load(model)
    if isinstance(loaded, Pretrained):
        from perrin.cli.pretrained import scaled

        for text in lora or []:
            loaded = loaded.with_lora(*scaled(text))
        if control_net is not None:
            loaded = loaded.with_control(control_net)
        written = loaded.save(out, overwrite=overwrite)
    else:
        if lora or control_net is not None:
            raise PerrinError(f"--lora and --control-net are for pretrained folders; {model} is Perrin's own")
        written = write_native(loaded, out, overwrite)
    files = sorted(str(path.relative_to(written)) for path in written.rglob("*") if path.is_file())
    if as_json:
        emit({"folder": str(written), "hash": loaded.hash, "files": files})
    else:
        print(
            f"{written}: {len(files)} files in the layout of diffusers; {written / 'README.md'} says how they were made"
        )
