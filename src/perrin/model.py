"""A model: denoiser + codec + how to sample from it. What `perrin.load` returns, and the folder that holds it.

A model folder holds `model.json` (how to rebuild network, parameterisation and codec; sampling defaults),
`model.safetensors` and `README.md` (the card). A run folder is a model folder with training's own files beside.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from perrin.contracts import Codec
from perrin.denoise.parameterisation import Parameterisation
from perrin.denoise.parameterisation import make as make_parameterisation
from perrin.denoise.wrapped import Wrapped, wrap
from perrin.errors import PerrinError
from perrin.guide import ClassifierFree
from perrin.registry import kinds, nets, schedules
from perrin.sample import Plan, make_plan
from perrin.samples import Samples, draw
from perrin.saving import load_tensors, read_json, refuse_pickles, save_tensors, write_json, write_text

FORMAT = 1


@dataclass(frozen=True)
class Sampling:
    """How to sample unless told otherwise: solver, steps, grid on a schedule, and guidance on an interval."""

    solver: str = "dpmpp_2m"
    steps: int = 20
    grid: str = "karras"
    schedule: dict[str, Any] = field(default_factory=lambda: {"name": "edm"})
    guidance: float = 1.0
    interval: tuple[float, float] | None = None

    def plan(self, solver: str | None = None, steps: int | None = None) -> Plan:
        """The plan of these settings, with another solver or number of steps where given."""
        options = dict(self.schedule)
        made = schedules[options.pop("name")](**options)
        return make_plan(
            solver or self.solver, made, steps=self.steps if steps is None else steps, grid=self.grid
        )


@dataclass(frozen=True)
class Design:
    """What a model is made of, JSON-able: enough to rebuild it around its weights."""

    net: dict[str, Any]
    parameterisation: dict[str, Any]
    codec: dict[str, Any]

    def denoiser(self) -> Wrapped:
        """The network with fresh weights, as a denoiser."""
        options = dict(self.net)
        net: nn.Module = nets[options.pop("name")](**options)
        return wrap(net, self._parameterisation())

    def _parameterisation(self) -> Parameterisation:
        options = dict(self.parameterisation)
        name, schedule = options.pop("name"), options.pop("schedule", None)
        if schedule is not None:
            schedule = dict(schedule)
            schedule = schedules[schedule.pop("name")](**schedule)
        return make_parameterisation(name, schedule, options)

    def make_codec(self) -> Codec:
        """The codec."""
        made: Codec = kinds[self.codec["kind"]].codec.from_config(self.codec["config"])
        return made


class Model:
    """A trained diffusion model.

    Attributes:
        design: what it is made of; denoiser: (x, level, condition) -> Prediction; codec: states <-> data.
        sampling: how to sample by default; folder: where it came from; hash: of its weights.
    """

    def __init__(
        self,
        design: Design,
        denoiser: Wrapped,
        codec: Codec,
        sampling: Sampling,
        folder: Path | None = None,
        about: dict[str, Any] | None = None,
    ) -> None:
        self.design, self.denoiser, self.codec, self.sampling = design, denoiser.eval(), codec, sampling
        self.folder, self.about = folder, about or {}
        self.hash = weights_hash(denoiser.net.state_dict())

    def to(self, device: str | torch.device) -> Model:
        """Move the network."""
        self.denoiser.to(device)
        return self

    def guided(self, weight: float | Tensor | None = None) -> nn.Module:
        """The denoiser under this model's guidance, of another weight where given."""
        w = self.sampling.guidance if weight is None else weight
        if not isinstance(w, Tensor) and w == 1.0:
            return self.denoiser
        return ClassifierFree(self.denoiser, w, interval=self.sampling.interval)

    def sample(
        self,
        n: int = 1,
        *,
        seed: int = 0,
        steps: int | None = None,
        solver: str | None = None,
        plan: Plan | None = None,
        guidance: float | None = None,
        batch: int | None = None,
        progress: Callable[[int, int], None] | None = None,
        trace: bool = False,
        first: int = 0,
        **conditions: Any,
    ) -> Samples:
        """Draw n samples; sample i is a function of (seed, i) and its condition, not of n or the batch.

        Args:
            n: how many.
            seed: which; steps, solver, plan: how, instead of the model's own; guidance: weight, 1 for none.
            batch: how many at a time; by default what fits, halved when memory runs out.
            progress: called with (network evaluations done, in all) as they go.
            trace: keep the predicted clean states of every step, for `Samples.trajectory`.
            first: index of the first sample (to make a later one of a series again).
            conditions: `label=` a class name or index, or one for each sample, "none" for unconditional; a model
                with classes takes them in turn by default.

        Raises:
            PerrinError: settings that do not fit the model.
        """
        for name, value in (("n", n), ("batch", 1 if batch is None else batch)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise PerrinError(f"{name} = {value!r} must be a whole number of at least 1")
        if plan is not None and (steps is not None or solver is not None):
            raise PerrinError(
                "a plan holds its own solver and steps; give either a plan, or solver and steps"
            )
        chosen = plan or self.sampling.plan(solver, steps)
        labels = self._labels(n, first, conditions)
        w = self.sampling.guidance if guidance is None else float(guidance)
        if w != 1.0 and labels is None:
            if guidance is not None:
                raise PerrinError(f"guidance = {guidance} needs a model with classes; this one has none")
            w = 1.0
        return draw(self, chosen, n, seed, first, labels, w, batch, progress, trace)

    def _labels(self, n: int, first: int, conditions: dict[str, Any]) -> Tensor | None:
        asked = conditions.pop("label", None)
        if conditions:
            raise PerrinError(
                f"condition {next(iter(conditions))!r} is not known to this model; it takes: label"
            )
        if not self.codec.classes:
            if asked is not None:
                raise PerrinError("this model was trained without classes; it takes no label")
            return None
        if asked is None:
            return (torch.arange(n) + first) % len(self.codec.classes)
        asked = asked.tolist() if hasattr(asked, "tolist") else asked  # of NumPy and torch
        single = isinstance(asked, str | int) or not isinstance(asked, Sequence)
        names = [asked] * n if single else list(asked)
        if len(names) != n:
            raise PerrinError(f"{len(names)} labels for {n} samples; give one, or one each")
        return torch.tensor([self.label(name) for name in names])

    def label(self, name: Any) -> int:
        """The index of a class; "none" or -1 is unconditional."""
        if (isinstance(name, str) and name == "none") or name == -1:
            return -1
        return self.codec.label(name)

    def save(self, folder: str | Path, card: str | None = None, half: bool = False) -> Path:
        """Write a model folder; `half` stores the weights in half precision."""
        folder = Path(folder)
        weights = self.denoiser.net.state_dict()
        if half:
            weights = {k: v.half() if v.is_floating_point() else v for k, v in weights.items()}
        save_tensors(folder / "model.safetensors", weights, {"perrin": weights_hash(weights)})
        write_json(folder / "model.json", self.to_json())
        if card is not None:
            write_text(folder / "README.md", card)
        return folder

    def to_json(self) -> dict[str, Any]:
        """The content of `model.json`."""
        return {
            "format": "perrin-model",
            "version": FORMAT,
            "about": self.about,
            **asdict(self.design),
            "sampling": asdict(self.sampling),
        }

    @staticmethod
    def load(folder: str | Path, device: str | torch.device = "cpu") -> Model:
        """The model of a model folder or run folder.

        Raises:
            PerrinError: what is missing, damaged, of another version, or a pickle.
        """
        folder = Path(folder)
        if not (folder / "model.json").is_file():
            raise PerrinError(f"{folder} is not a model folder: it has no model.json")
        refuse_pickles(folder)
        data = read_json(folder / "model.json", "model description")
        if data.get("format") != "perrin-model" or data.get("version") != FORMAT:
            raise PerrinError(
                f"{folder}/model.json has version {data.get('version')!r}; this Perrin reads version {FORMAT}"
            )
        try:
            design = Design(data["net"], data["parameterisation"], data["codec"])
            sampling = Sampling(**{**data["sampling"], "interval": _pair(data["sampling"].get("interval"))})
        except (KeyError, TypeError) as error:
            raise PerrinError(f"{folder}/model.json is damaged: {error!r}") from error
        denoiser = design.denoiser()
        load_weights(denoiser.net, folder / "model.safetensors")
        return Model(design, denoiser.to(device), design.make_codec(), sampling, folder, data.get("about"))


def _pair(value: Sequence[float] | None) -> tuple[float, float] | None:
    return None if value is None else (float(value[0]), float(value[1]))


def load_weights(net: nn.Module, path: Path) -> None:
    """Put the weights of a file into a network.

    Raises:
        PerrinError: a damaged file, or weights of another network.
    """
    found, wanted = load_tensors(path), net.state_dict()
    for name, value in wanted.items():
        if name not in found or found[name].shape != value.shape:
            what = "lacks" if name not in found else f"has shape {tuple(found[name].shape)} for"
            raise PerrinError(
                f"{path} {what} {name!r} {tuple(value.shape)}: these are the weights of another network"
            )
    net.load_state_dict({name: found[name].to(value.dtype) for name, value in wanted.items()})


def weights_hash(weights: Mapping[str, Tensor]) -> str:
    """12 hexadecimal digits that name the weights as they are once loaded: half precision counts as its float32."""
    digest = hashlib.sha256()
    for name, value in sorted(weights.items()):
        digest.update(name.encode())
        value = value.detach().cpu()
        value = value.float() if value.is_floating_point() else value
        digest.update(value.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:12]
