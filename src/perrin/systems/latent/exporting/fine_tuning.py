"""An imported model as a folder of its own, with the recipe that trains it on: `perrin train RECIPE DATA --from FOLDER`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from perrin.model import Model
from perrin.saving import write_text
from perrin.systems.latent.exporting.folders import whole_folder
from perrin.training import recipe as recipes

RECIPE = "fine-tune.yaml"
GIVEN = ("shape", "classes", "out_channels")
"""Options of a network that training takes from the data."""


def write_model(model: Model, folder: Path, overwrite: bool = False) -> Path:
    """Write an imported model as a model folder: weights, description, card and recipe.

    Raises:
        PerrinError: something is there already.
    """
    with whole_folder(folder, overwrite) as part:
        model.save(part, card(model, folder.name))
        write_text(part / RECIPE, recipes.dump(recipes.validate(recipe_of(model, folder.name))))
    model.folder = folder
    return folder


def recipe_of(model: Model, name: str) -> dict[str, Any]:
    """The recipe that trains a network like the model's: its own chain, its noise loss, a low rate."""
    design, codec, sampling = model.design, model.codec, model.sampling
    made, config = design.parameterisation, design.codec["config"]
    schedule = made["schedule"]
    if codec.kind == "latents":
        sides = [n * model.codec.pictures.factor for n in config["shape"][1:]]  # type: ignore[attr-defined]
        count = len(codec.classes or ())
        fit: dict[str, Any] = {"autoencoder": config["autoencoder"], "size": sides, "classes": count}
    else:
        fit = {"size": config["shape"][1:], "channels": config["shape"][0]}
        fit |= {} if codec.classes else {"labels": False}
    bound = {"name": "variational", "schedule": schedule, "weight": 0.001}
    return {
        "name": name,
        "about": f"Trains {name} on.",
        "kind": codec.kind,
        "codec": fit,
        "net": {key: value for key, value in design.net.items() if key not in GIVEN},
        "parameterisation": made,
        "objective": {
            "law": {"name": "uniform_step", "schedule": schedule},
            "weight": {"name": "simple"},
            **({"auxiliary": bound} if "variance" in made else {}),
        },
        "training": {"steps": 10_000, "batch": 32, "lr": 1e-4},
        "sampling": {
            "solver": sampling.solver,
            "steps": sampling.steps,
            "grid": sampling.grid,
            "schedule": sampling.schedule,
            "guidance": sampling.guidance,
        },
    }


def card(model: Model, name: str) -> str:
    """Where the weights are from, where the autoencoder is, and how to go on."""
    lines = [
        f"# {name}",
        "",
        f"Weights of {model.about['imported']} in Perrin's own network (hash {model.hash}).",
    ]
    if model.codec.kind == "latents":
        lines += [
            "",
            f"It draws latents; their autoencoder stays at {model.design.codec['config']['autoencoder']}.",
        ]
    lines += [
        "",
        "The licence is that of those weights: add it here before sharing.",
        "",
        "```bash",
        f"perrin sample {name} -n 16 --out samples",
        f"perrin train {name}/{RECIPE} PICTURES --from {name} --out runs/{name}-tuned",
        "```",
        "",
    ]
    return "\n".join(lines)
