"""Names to objects: every registry of the project, as strings that are imported on first use.

This is the only place that looks things up, and it imports nothing of the rooms above it: an entry is
`"module:object"`. To add a rule, a schedule, a kind, a network: write its file, add its line here. Code
outside the project adds entries with `registry.rules.register("name", "module:object")`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from typing import Any

from perrin.errors import PerrinError, UnknownName


def unknown(noun: str, name: object, known: Iterable[str], hint: str = "") -> UnknownName:
    """The error for a name that is not known: the nearest right name, or all of them when few.

    `noun` is what the name should have been ("solver"), `hint` a command that lists all of them.
    """
    names = list(known)
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    if near:
        advice = f"did you mean {near[0]!r}?"
    else:
        advice = "known: " + ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    return UnknownName(f"{noun} {str(name)!r} is not known; {advice}" + (f" ({hint})" if hint else ""))


class Registry(Mapping[str, Any]):
    """A mapping name -> object whose values are imported when they are asked for.

    Raises:
        UnknownName: for a name without an entry, with the nearest name that has one.
    """

    def __init__(self, noun: str, entries: Mapping[str, str], hint: str = "") -> None:
        self.noun, self.hint = noun, hint
        self._entries: dict[str, str] = dict(entries)

    def __getitem__(self, name: str) -> Any:
        if name not in self._entries:
            raise unknown(self.noun, name, self._entries, self.hint)
        module, _, attribute = self._entries[name].partition(":")
        return getattr(import_module(module), attribute)

    def build(self, section: str | Mapping[str, Any]) -> Any:
        """What a section `{name: ..., **options}` makes; a name alone stands for `{name: ...}`."""
        options = {"name": section} if isinstance(section, str) else dict(section)
        return self[options.pop("name")](**options)

    def __contains__(self, name: object) -> bool:  # Mapping's own would import the object
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def register(self, name: str, target: str) -> None:
        """Add an entry `target = "module:object"`; a name that is taken is refused."""
        if name in self._entries:
            raise PerrinError(f"{self.noun} {name!r} is registered already, as {self._entries[name]!r}")
        self._entries[name] = target


_book = "perrin.sample.rulebook"
_kernels = "perrin.sample.kernelbook"
_schedules = "perrin.process.schedulebook"

schedules = Registry(
    "schedule",
    {
        "vp": f"{_schedules}.linear_beta:vp",
        "sub_vp": f"{_schedules}.linear_beta:sub_vp",
        "cosine": f"{_schedules}.squared_cosine:cosine",
        "ve": f"{_schedules}.exploding:ve",
        "edm": f"{_schedules}.exploding:edm",
        "flow": f"{_schedules}.rectified:flow",
        "discrete": f"{_schedules}.table:discrete",
        "ddpm_linear": f"{_schedules}.chains:ddpm_linear",
        "ddpm_cosine": f"{_schedules}.chains:ddpm_cosine",
        "log_linear": f"{_schedules}.log_linear:log_linear",
    },
    "perrin models --schedules lists all",
)

processes = Registry(
    "process",
    {
        "masked": "perrin.process.categorical:masked",
        "uniform": "perrin.process.categorical:uniform",
        "centred": "perrin.process.subspace:centred",
        "torus": "perrin.process.torus:Torus",
        "rotations": "perrin.process.rotations:Rotations",
    },
)

parameterisations = Registry(
    "parameterisation",
    {
        name: f"perrin.denoise.parameterisation:{name}"
        for name in ("clean", "noise", "v", "flow_velocity", "score", "edm")
    },
)

variances = Registry(
    "learned variance",
    {
        "learned_range": "perrin.denoise.learned_variance:learned_range",
        "published_range": "perrin.denoise.published_variance:published_range",
    },
)

rules = Registry(
    "solver",
    {
        "ddim": f"{_book}.first_order:ddim",
        "euler": f"{_book}.first_order:ddim",
        "ddpm": f"{_book}.first_order:ddpm",
        "euler_ancestral": f"{_book}.first_order:euler_ancestral",
        "heun": f"{_book}.runge_kutta:heun",
        "dpm_2": f"{_book}.runge_kutta:dpm_2",
        "edm_heun": f"{_book}.churn:edm_heun",
        "dpmpp_2s": f"{_book}.dpm_solver:dpmpp_2s",
        "dpmpp_2m": f"{_book}.dpm_solver:dpmpp_2m",
        "dpmpp_3m": f"{_book}.dpm_solver:dpmpp_3m",
        "dpmpp_sde": f"{_book}.dpm_solver_sde:dpmpp_sde",
        "dpmpp_2m_sde": f"{_book}.dpm_solver_sde:dpmpp_2m_sde",
        "unipc_2": f"{_book}.unified_corrector:unipc_2",
        "unipc_3": f"{_book}.unified_corrector:unipc_3",
        "deis_3": f"{_book}.adams_bashforth:deis_3",
        "ab_2": f"{_book}.adams_bashforth:ab_2",
        "ab_3": f"{_book}.adams_bashforth:ab_3",
        "ab_4": f"{_book}.adams_bashforth:ab_4",
        "langevin": f"{_book}.langevin_dynamics:langevin",
        "predictor_corrector": f"{_book}.langevin_dynamics:predictor_corrector",
        "annealed_langevin": f"{_book}.unadjusted_langevin:annealed_langevin",
        "euler_maruyama": f"{_book}.reverse_sde:euler_maruyama",
        "consistency": f"{_book}.renewal:consistency",
    },
    "perrin models --solvers lists all",
)

kernels = Registry(
    "solver of tokens or manifolds",
    {
        "ancestral": f"{_kernels}.posterior:ancestral",
        "tau_leaping": f"{_kernels}.leaping:tau_leaping",
        "confidence": f"{_kernels}.ordered:confidence",
        "blocks": f"{_kernels}.ordered:blocks",
        "remasking": f"{_kernels}.remasked:remasking",
        "geodesic": f"{_kernels}.geodesic:geodesic",
        "geodesic_flow": f"{_kernels}.geodesic:geodesic_flow",
    },
    "perrin models --token-solvers lists all",
)

grids = Registry(
    "grid",
    {name: f"perrin.sample.levels:{name}" for name in ("time", "logsnr", "karras", "cosine")},
    "perrin models --grids lists all",
)

guides = Registry(
    "guidance",
    {
        "classifier_free": "perrin.guide.classifier_free:ClassifierFree",
        "projected": "perrin.guide.classifier_free:projected",
        "autoguidance": "perrin.guide.autoguidance:Autoguidance",
        "classifier": "perrin.guide.classifier:ClassifierGuidance",
        "energy": "perrin.guide.energy:Energy",
        "threshold": "perrin.guide.thresholding:Threshold",
        "dynamic_threshold": "perrin.guide.thresholding:DynamicThreshold",
        "tempered": "perrin.guide.tempering:Tempered",
        "remembered": "perrin.guide.remembered:Remembered",
        "tilted": "perrin.guide.tilted:Tilted",
    },
)

tasks = Registry(
    "restoration task",
    {
        name: f"perrin.restoration.tasks:{name}"
        for name in (
            "inpaint",
            "denoise",
            "deblur",
            "motion",
            "upscale",
            "colour",
            "mri",
            "ct",
            "compressed",
            "declip",
            "gaps",
        )
    },
    "perrin models --tasks lists all",
)

methods = Registry(
    "restoration method",
    {
        "mmps": "perrin.guide.restoring.methods:MMPS",
        "pigdm": "perrin.guide.restoring.methods:PiGDM",
        "pooled": "perrin.guide.restoring.pooling:Pooled",
        "proximal": "perrin.guide.restoring.methods:Proximal",
    },
    "perrin models --methods lists all",
)

weights = Registry(
    "loss weight",
    {
        name: f"perrin.learn.weighting:{name}"
        for name in (
            "edm",
            "edm_root",
            "simple",
            "min_snr",
            "sigmoid",
            "uniform",
            "likelihood",
            "bound",
            "cross_entropy",
        )
    }
    | {"learned": "perrin.learn.learned_weight:Learned"},
)

level_laws = Registry(
    "law of levels",
    {
        name: f"perrin.learn.laws:{name}"
        for name in ("lognormal", "uniform_time", "uniform_level", "uniform_step", "uniform_scale")
    },
)

objectives = Registry(
    "objective",
    {
        "denoising": "perrin.learn.denoising:Denoising",
        "sliced": "perrin.learn.sliced:Sliced",
        "consistency": "perrin.learn.consistency_loss:Consistency",
        "trajectory": "perrin.learn.trajectory_loss:Trajectory",
        "shortcut": "perrin.learn.shortcut_loss:Shortcut",
    },
)

auxiliaries = Registry("auxiliary objective", {"variational": "perrin.learn.hybrid:variational"})

nets = Registry(
    "network",
    {
        "unet": "perrin.nets.conv_unet:UNet",
        "ddpm_unet": "perrin.nets.ddpm_unet:DDPMUNet",
        "dit": "perrin.nets.patch_transformer:DiT",
        "mlp": "perrin.nets.residual_mlp:MLP",
        "transformer": "perrin.nets.sequence:Transformer",
        "egnn": "perrin.nets.egnn:EGNN",
        "torsion": "perrin.nets.torsion:TorsionNet",
        "axial": "perrin.nets.axial:Axial",
        "encoder": "perrin.nets.classifying:Encoder",
    },
)

kinds = Registry(
    "kind of data",
    {
        "images": "perrin.kinds.images:Images",
        "latents": "perrin.systems.latent.latents:Latents",
        "arrays": "perrin.kinds.arrays:Arrays",
        "text": "perrin.kinds.text:Text",
        "music": "perrin.kinds.music:Music",
        "smiles": "perrin.kinds.smiles:Smiles",
        "molecules": "perrin.kinds.molecules:Molecules",
        "conformers": "perrin.kinds.conformers:Conformers",
        "series": "perrin.kinds.series:Series",
        "volumes": "perrin.kinds.volumes:Volumes",
    },
    "perrin models --kinds lists all",
)

judges = Registry(
    "judge of a kind of data",
    {
        "images": "perrin.evaluate.states:judged",
        "arrays": "perrin.evaluate.states:judged",
        "volumes": "perrin.evaluate.states:judged",
        "text": "perrin.evaluate.texts:judged",
        "music": "perrin.evaluate.tunes:judged",
        "molecules": "perrin.evaluate.molecule_page:judged",
        "smiles": "perrin.evaluate.molecule_page:judged",
        "conformers": "perrin.evaluate.conformers:judged",
        "series": "perrin.forecasting.judging:judged",
    },
)

metrics = Registry(
    "metric",
    {
        "frechet_distance": "perrin.metrics.frechet:frechet_distance",
        "kid": "perrin.metrics.kernel:kid",
        "precision_recall": "perrin.metrics.manifold:precision_recall",
        "density_coverage": "perrin.metrics.manifold:density_coverage",
        "nearest_distances": "perrin.metrics.neighbours:nearest_distances",
        "class_accuracy": "perrin.metrics.classification:class_accuracy",
        "mode_coverage": "perrin.metrics.modes:mode_coverage",
        "ngram_bits": "perrin.metrics.ngrams:ngram_bits",
        "unigram_entropy": "perrin.metrics.repetition:unigram_entropy",
        "repeated_share": "perrin.metrics.repetition:repeated_share",
        "distinct_share": "perrin.metrics.repetition:distinct_share",
        "longest_copies": "perrin.metrics.copies:longest_copies",
        "wasserstein": "perrin.metrics.transport:wasserstein",
        "ensemble_coverage": "perrin.metrics.ensembles:ensemble_coverage",
        "crps": "perrin.metrics.proper_scores:crps",
        "energy_score": "perrin.metrics.proper_scores:energy_score",
        "variogram_score": "perrin.metrics.proper_scores:variogram_score",
        "weighted_quantile_loss": "perrin.metrics.pinball:weighted_quantile_loss",
        "interval_coverage": "perrin.metrics.calibration:interval_coverage",
        "pit": "perrin.metrics.calibration:pit",
        "sharpness": "perrin.metrics.calibration:sharpness",
    },
    "perrin models --metrics lists all",
)

_simple = "perrin.evaluate.simple_forecasts"

forecasters = Registry(
    "simple method of forecasting",
    {
        "seasonal_naive": f"{_simple}.seasonal:SeasonalNaive",
        "seasonal_bootstrap": f"{_simple}.seasonal:SeasonalBootstrap",
        "random_walk": f"{_simple}.walks:RandomWalk",
        "bootstrap_walk": f"{_simple}.walks:BootstrapWalk",
        "ets": f"{_simple}.smoothing:Ets",
        "arima": f"{_simple}.autoregression:Arima",
    },
)
