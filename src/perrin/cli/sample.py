"""`perrin sample`: draw from a model into files that say how they were made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from perrin.cli import folder_options as of_folder
from perrin.cli import guidance_options as of_guidance
from perrin.cli import molecule_options as of_molecules
from perrin.cli import picture_options as of_pictures
from perrin.cli import text_options as of_texts
from perrin.cli.common import Device, Json, choose_device, emit, progress
from perrin.cli.pretrained import Opened, told
from perrin.errors import PerrinError

NUMBER, IN_ROW = 16, 4
"""How many samples by default, and how many of each line of a grid."""


def command(
    model: Annotated[
        str, typer.Argument(help="A run folder, a model folder, a pretrained folder or a Hub id.")
    ],
    n: Annotated[
        int | None,
        typer.Option("-n", "--number", help=f"How many (default {NUMBER}; of each line of --grid {IN_ROW})."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="A folder for single files and a grid, or one file.")
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(
            "--label",
            help="A class, or one for each sample; 'none' is unconditional. All in turn by default.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Which samples.")] = 0,
    steps: Annotated[int | None, typer.Option("--steps", help="Steps of the solver.")] = None,
    solver: Annotated[str | None, typer.Option("--solver", help="See perrin models --solvers.")] = None,
    plan: Annotated[
        Path | None, typer.Option("--plan", help="A plan saved as JSON, instead of solver and steps.")
    ] = None,
    guidance: of_guidance.Guidance = None,
    classifier: of_guidance.Classifier = None,
    interval: of_guidance.Interval = None,
    rescale: of_guidance.Rescale = None,
    projected: of_guidance.Projected = False,
    weaker: of_guidance.Weaker = None,
    true_guidance: of_guidance.TrueGuidance = None,
    reuse: Annotated[
        int,
        typer.Option(
            "--reuse", help="Run the lower resolutions of the network at every so many evaluations only."
        ),
    ] = 1,
    batch: Annotated[
        int | None, typer.Option("--batch", help="Samples at a time; what fits by default.")
    ] = None,
    prompt: of_pictures.Prompt = None,
    negative: of_pictures.Negative = None,
    grid: of_pictures.Grid = None,
    height: of_pictures.Height = None,
    width: of_pictures.Width = None,
    image: of_pictures.Image = None,
    strength: of_pictures.Strength = None,
    mask: of_pictures.Mask = None,
    variation_of: of_pictures.VariationOf = None,
    noise_level: of_pictures.NoiseLevel = None,
    control: of_pictures.Control = None,
    control_scale: of_pictures.ControlScale = None,
    before: of_pictures.Before = None,
    lora: of_folder.Lora = None,
    control_net: of_folder.ControlNet = None,
    upscaler: of_folder.Upscaler = None,
    seamless: of_folder.Seamless = False,
    tiles: of_folder.Tiles = None,
    dtype: of_folder.Dtype = None,
    offload: of_folder.Offload = None,
    compiled: of_folder.Compile = False,
    channels_last: of_folder.ChannelsLast = False,
    infill: of_texts.Infill = None,
    gap: of_texts.Gap = None,
    length: of_texts.Length = None,
    temperature: of_texts.Temperature = None,
    top_p: of_texts.TopP = None,
    property_: of_molecules.Property = None,
    scaffold: of_molecules.Scaffold = None,
    smiles: of_molecules.Smiles = None,
    trajectory: Annotated[
        bool,
        typer.Option(
            "--trajectory",
            help="Write the denoising too: an animated GIF, or of texts a page in which words appear.",
        ),
    ] = False,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Draw samples from a model.

    Example:
      perrin sample runs/digits -n 16 --label 7 --out sevens
      perrin sample runs/digits -n 36 --out grid.png
      perrin sample runs/digits -n 16 --trajectory --out denoising.gif
      perrin sample runs/sde --classifier runs/classifier --label 3 --guidance 4 --out threes
      perrin sample runs/mnist --guidance 4 --projected --interval -3 4
      perrin sample runs/mnist --guidance 2 --weaker runs/mnist-short
      perrin sample stable-diffusion -n 4 --prompt "a (red:1.2) cube" --negative blurry --guidance 5 --solver dpmpp_2m
      perrin sample stable-diffusion --prompt "in oil" --image photo.png --strength 0.5 --lora style.safetensors:0.8
      perrin sample stable-diffusion --grid prompts.txt -n 4 --out sheet.png
      perrin sample IF-I --upscaler IF-II --upscaler x4 --prompt "a red cube" --before steps=50
      perrin sample runs/text -n 4 --prompt "ROMEO:" --length 400
      perrin sample runs/text -n 4 --infill "To be, ___ not to be" --trajectory
      perrin sample runs/molecules -n 100 --property logp=2.5 --out molecules.sdf
      perrin sample conformers -n 10 --smiles "CCOC(=O)c1ccccc1" --out conformers.sdf
    """
    from perrin.loading import load
    from perrin.sample import Plan

    opened = Opened(
        device,
        lora or (),
        control_net or (),
        upscaler or (),
        seamless,
        tiles,
        dtype,
        offload,
        compiled,
        channels_last,
    )
    loaded = opened.model(model)
    weak = None
    if weaker is not None:
        weak = loaded.weaker(weaker if Path(weaker).is_file() else load(weaker))
    target = out or Path("samples")
    shown: dict[str, Any] = {
        "prompt": prompt, "negative": negative, "height": height, "width": width, "image": image, "strength": strength,
        "mask": mask, "variation-of": variation_of, "noise-level": noise_level, "control": control or None,
        "control-scale": control_scale or None, "before": before or None, "true-guidance": true_guidance,
    }  # fmt: skip
    options: dict[str, Any] = {"label": label[0] if len(label) == 1 else label} if label else {}
    if hasattr(loaded.codec, "null"):  # of prompts
        refuse_others({"--infill": infill, "--gap": gap, "--length": length}, "texts")
        options |= told(shown)
    else:
        shown.pop("prompt")
        refuse_others(
            {f"--{name}": v for name, v in {**shown, "grid": grid}.items()}, "pictures from prompts"
        )
        options |= of_texts.beginning(loaded, prompt, infill, gap, length)
    options |= of_molecules.wanted(loaded, property_ or [], {"scaffold": scaffold, "smiles": smiles})
    options |= {
        "seed": seed, "steps": steps, "solver": solver, "plan": None if plan is None else Plan.load(plan),
        "guidance": guidance,
        "classifier": None if classifier is None else load(classifier, device=choose_device(device)),
        "interval": interval, "rescale": rescale, "projected": projected or None, "weaker": weak, "reuse": reuse,
        "batch": batch, "trace": trajectory, "temperature": temperature, "top_p": top_p,
    }  # fmt: skip
    if grid is not None:
        from perrin.cli.prompt_grid import draw

        with advancing() as report:
            found = draw(loaded, grid, IN_ROW if n is None else n, target, options, report)
        _say(loaded, found.samples, found.files, as_json)
        return
    animation = _animation(target, loaded) if trajectory else None
    with advancing() as report:
        samples = loaded.sample(NUMBER if n is None else n, progress=report, **options)
    files = [] if target == animation else samples.save(target)
    if animation is not None:
        files.append(samples.save_trajectory(animation))
    _say(loaded, samples, files, as_json)


@contextmanager
def advancing() -> Iterator[Callable[[int, int], None]]:
    """A progress display for `Model.sample(progress=)`."""
    with progress("sampling") as advance:
        before = 0

        def report(done: int, total: int) -> None:
            nonlocal before
            advance(done - before, total=total)
            before = done

        yield report


def _say(model: Any, samples: Any, files: list[Path], as_json: bool) -> None:
    if as_json:
        facts = {"files": files, "evaluations_per_sample": samples.evaluations, "tuned": samples.tuned}
        emit(facts | {"model_hash": model.hash})
        return
    if isinstance(samples.decoded[0], str):  # a text is read at once
        print("\n".join(f"--- {i}\n{text.rstrip()}" for i, text in enumerate(samples.decoded)) + "\n---")
    fitted = " by a plan that was tuned for them" if samples.tuned else ""
    others = f" and {len(files) - 1} other files" if len(files) > 1 else ""
    print(f"{len(samples)} samples of {samples.evaluations:g} evaluations{fitted}: {files[0]}{others}")


def refuse_others(given: dict[str, Any], of: str) -> None:
    """Refuse options that are for models of something else."""
    for name, value in given.items():
        if value is not None:
            raise PerrinError(f"{name} is for models of {of}")


def _animation(target: Path, model: Any) -> Path:
    suffix = ".gif" if model.codec.categories is None else ".html"
    if target.suffix == suffix:
        return target
    return target.with_suffix(suffix) if target.suffix else target / f"trajectory{suffix}"
