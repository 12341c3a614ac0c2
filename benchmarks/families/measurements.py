"""What is measured of the three families; each function returns numbers that JSON can hold."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score
from torch import Tensor

import perrin
from perrin.evaluate.feature_cache import feature_extractor
from perrin.evaluate.judging import judge
from perrin.evaluate.states import reference
from perrin.kinds.arrays import toy
from perrin.likelihood import decode, encode
from perrin.metrics import frechet_distance, mode_coverage
from perrin.systems.score_sde import interpolate
from perrin.training import recipe as recipes
from perrin.training.setup import open_data

EVALUATIONS = (16, 32, 64, 128)
GUIDANCE = (0.0, 1.0, 2.0, 4.0, 8.0)
POINTS = {  # the points recipe in each family's words
    "DDPM": {
        "parameterisation": {"name": "noise"},
        "objective": {
            "law": {"name": "uniform_step", "schedule": "ddpm_linear"},
            "weight": {"name": "simple"},
        },
        "sampling": {"solver": "ddpm", "steps": 200, "grid": "time", "schedule": {"name": "ddpm_linear"}},
    },
    "NCSN": {
        "parameterisation": {"name": "noise"},
        "objective": {
            "law": {"name": "uniform_scale", "sigma_min": 0.01, "sigma_max": "data", "count": 40},
            "weight": {"name": "simple"},
        },
        "sampling": {
            "solver": "annealed_langevin",
            "options": {"corrections": 4, "step_size": 0.5},
            "steps": 40,
            "grid": "logsnr",
            "schedule": {"name": "ve", "sigma_min": 0.01, "sigma_max": "data"},
        },
    },
    "score SDE": {
        "parameterisation": {"name": "noise"},
        "objective": {"law": {"name": "uniform_time", "schedule": "vp"}, "weight": {"name": "simple"}},
        "sampling": {
            "solver": "predictor_corrector",
            "steps": 100,
            "grid": "logsnr",
            "schedule": {"name": "vp"},
        },
    },
}


def points(folder: Path) -> dict[str, Any]:
    """Modes covered and quality on 25 Gaussians, a short training each, beside real draws."""
    found: dict[str, Any] = {}
    for family, sections in POINTS.items():
        run = perrin.train("points", out=folder / family.replace(" ", "-"), overwrite=True, **sections)
        drawn = run.model.sample(2000, seed=0)
        np.save(folder / f"{family.replace(' ', '-')}.npy", np.stack(drawn.decoded))
        found[family] = _modes(np.stack(drawn.decoded)) | {"evaluations": drawn.evaluations}
    (real, _), _ = toy.toy_points("gaussians25", 2000, 1)
    np.save(folder / "real.npy", real)
    return found | {"real points": _modes(real)}


def _modes(values: np.ndarray) -> dict[str, Any]:
    found = mode_coverage(
        torch.from_numpy(values), toy.MODES["gaussians25"].centres, toy.MODES["gaussians25"].std
    )
    return dict(found._asdict())


def samples(runs: Mapping[str, Path], count: int) -> dict[str, Any]:
    """Class accuracy and Frechet distance of each run as `perrin evaluate` judges it."""
    keys = ("class_accuracy", "class_accuracy_ceiling", "class_accuracy_unguided", "frechet_distance")
    keys += ("frechet_ceiling", "precision", "recall", "samples", "evaluations_per_sample", "train_seconds")
    found = {}
    for family, folder in runs.items():
        if not (folder / "metrics.json").exists():
            judge(folder, samples=count, out=folder)
        figures = json.loads((folder / "metrics.json").read_text())
        found[family] = {key: figures.get(key) for key in keys}
    return found


def correctors(folder: Path, count: int) -> dict[str, Any]:
    """Frechet distance over evaluations: the reverse SDE alone, half of them spent on corrections, and the flow."""
    model = perrin.load(folder)
    real = reference(open_data(recipes.validate(recipes.read(folder / "recipe.yaml"))), model.codec, folder)
    extractor = feature_extractor(real.train, real.train_labels, seed=0)
    test = extractor.features(real.test)
    found: dict[str, Any] = {"samples": count}
    for solver, per_step in (("ddpm", 1), ("predictor_corrector", 2), ("heun", 2)):
        found[solver] = {}
        for budget in EVALUATIONS:
            drawn = model.sample(count, seed=0, solver=solver, steps=budget // per_step)
            distance = frechet_distance(extractor.features(drawn.state), test)
            found[solver][str(drawn.evaluations)] = distance
    ceiling = extractor.features(real.train[torch.randperm(len(real.train))[:count]])
    return found | {"real": frechet_distance(ceiling, test)}


def bits(runs: Mapping[str, Path], held_out: Any, count: int) -> dict[str, Any]:
    """Bits per dimension of test digits by bound and by flow, with the standard errors over the items."""
    chosen, found = held_out.split(count, 0)[1], {}
    for family, folder in runs.items():
        model = perrin.load(folder)
        found[family] = {}
        for method, options in (("bound", {"samples": 256}), ("ode", {"probes": 2, "tolerance": 1e-4})):
            result = model.log_prob(chosen, method=method, **options)
            per = result.bits_per_dimension(784)[result.converged]
            found[family][method] = {
                "bits": float(per.mean()),
                "stderr": float(per.std() / len(per) ** 0.5),
                "converged": int(result.converged.sum()),
                "parts_in_bits": {
                    k: -float(v[result.converged].mean()) / (784 * np.log(2)) for k, v in result.parts.items()
                },
            }
    return found | {"items": count}


def latents(folder: Path, held_out: Any, out: Path) -> dict[str, Any]:
    """Encode, decode: RMSE on test digits in the units of the states; and strips between pairs of digits."""
    model = perrin.load(folder)
    items = held_out.split(100, 1)[1]
    clean = model.codec.encode([items[i] for i in range(len(items))]).state
    code = encode(model.denoiser, clean)
    back = decode(model.denoiser, code.state)
    rmse = (back.state - clean).square().flatten(1).mean(1).sqrt()
    path = interpolate(code.state[:10], code.state[10:20], 12)
    shape = path.shape
    strips = decode(model.denoiser, path.transpose(0, 1).reshape(-1, *shape[2:]), tolerance=1e-3)
    picture = model.codec.picture(model.codec.decode(strips.state), 12)
    if picture is not None:
        picture.save(out / "interpolation.png")
    return {
        "items": len(clean),
        "rmse": float(rmse.mean()),
        "rmse_max": float(rmse.max()),
        "converged": int((code.converged & back.converged).sum()),
        "code_mean": float(code.state.mean()),
        "code_std": float(code.state.std()),
    }


def outliers(runs: Mapping[str, Path], held_out: Any, other: Path | None, count: int) -> dict[str, Any]:
    """How well a low bound tells rotated digits and other images from digits: area under the curve."""
    chosen = held_out.split(count, 2)[1]
    own = np.stack([chosen[i]["value"] for i in range(count)])
    strange = {
        "rotated by 90 degrees": np.rot90(own, axes=(1, 2)).copy(),
        "turned upside down": own[:, ::-1, :].copy(),
        "noise of the same histogram": np.random.default_rng(0).permuted(own.reshape(count, -1), axis=1),
    }
    strange["noise of the same histogram"] = strange["noise of the same histogram"].reshape(own.shape)
    if other is not None:
        strange["other images, grey"] = other_images(other, count)
    found: dict[str, Any] = {"items": count}
    for family, folder in runs.items():
        model = perrin.load(folder)
        base = model.log_prob(own, method="bound", label="none", samples=64).value
        found[family] = {name: auc(base, _bound(model, values)) for name, values in strange.items()}
    return found


def _bound(model: Any, values: np.ndarray) -> Tensor:
    result: Tensor = model.log_prob(values, method="bound", label="none", samples=64).value
    return result


def auc(own: Tensor, other: Tensor) -> float:
    """Area under the curve of telling `other` by its lower likelihood."""
    is_other = np.r_[np.zeros(len(own)), np.ones(len(other))]
    return float(roc_auc_score(is_other, -torch.cat([own, other]).numpy()))


def other_images(path: Path, count: int) -> np.ndarray:
    """The first images of a parquet file as grey 28 x 28."""
    from perrin.registry import kinds

    dataset = kinds["images"].open(path=str(path))
    pictures = [Image.fromarray(dataset[i]["value"]).convert("L").resize((28, 28)) for i in range(count)]
    return np.stack([np.asarray(p) for p in pictures])


def guidance(folder: Path, classifier: Path, data: Path, out: Path, count: int) -> dict[str, Any]:
    """Class accuracy of an unconditional model under a classifier's guidance, read by a judge that did not guide."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "mnist_training"))
    from judge import Judge

    examiner = Judge(data, out)
    model, guide = perrin.load(folder), perrin.load(classifier)
    labels = torch.arange(count) % 10
    found: dict[str, Any] = {"samples": count, "judge_accuracy": examiner.test_accuracy}
    for weight in GUIDANCE:
        drawn = model.sample(
            count,
            seed=0,
            classifier=guide,
            guidance=weight,
            label=labels.tolist(),
            solver="dpmpp_2m",
            steps=20,
        )
        pixels = np.stack(drawn.decoded)
        found[f"{weight:g}"] = examiner.figures(pixels, labels.numpy())
        if drawn.picture() is not None:
            model.codec.picture(drawn.decoded[:100], 10).save(out / f"guided-{weight:g}.png")
    return found
