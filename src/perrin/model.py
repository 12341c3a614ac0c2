"""A model: denoiser + codec + how to sample from it. What `perrin.load` returns, and the folder that holds it.

A model folder holds `model.json` (how to rebuild network, parameterisation and codec; sampling defaults),
`model.safetensors` and `README.md` (the card). A run folder is a model folder with training's own files beside.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from perrin import densities
from perrin.contracts import Codec, Outline, Outlines
from perrin.design import Denoising, Design, Sampling, as_denoiser, same_states
from perrin.encoded_items import as_items, encode_unchanged
from perrin.errors import PerrinError, check_counts
from perrin.fitted import PLANS, find, misfit
from perrin.guide import Classifier, Projection
from perrin.guide.energy import EnergyFunction
from perrin.likelihood.probability_flow import Endpoint, decode, encode
from perrin.mixing import each, keys_of, once
from perrin.process.state import single
from perrin.restoration import asking, repainting
from perrin.sample import Plan
from perrin.samples import Request, Samples, draw
from perrin.saving import (
    load_weights,
    read_json,
    refuse_pickles,
    save_tensors,
    weights_hash,
    write_json,
    write_text,
)
from perrin.steering import Steering, guided, settled
from perrin.windowed import blanks

FORMAT = 1


class Model:
    """A trained diffusion model, or the classifier of noisy states that guides one.

    Attributes:
        design: what it is made of; module: the network as its role says; codec: states <-> data.
        sampling: how to sample by default; folder: where it came from.
    """

    def __init__(
        self,
        design: Design,
        module: Denoising | Classifier,
        codec: Codec,
        sampling: Sampling,
        folder: Path | None = None,
        about: dict[str, Any] | None = None,
    ) -> None:
        self.design, self.module, self.codec, self.sampling = design, module.eval(), codec, sampling
        self.folder, self.about = folder, about or {}

    @cached_property
    def hash(self) -> str:
        """12 hexadecimal digits that name the weights."""
        return weights_hash(self.module.net.state_dict())

    @property
    def denoiser(self) -> Denoising:
        """(x, level, condition) -> Prediction; a classifier has none and says so."""
        return as_denoiser(self.module)

    @property
    def classifier(self) -> Classifier:
        """(x, level) -> logits; a model that is no classifier says so."""
        if not isinstance(self.module, Classifier):
            raise PerrinError(
                f"{self.folder or 'this model'} is no classifier of noisy states; one is trained by a recipe with "
                "task: classifier, such as classifier-mnist"
            )
        return self.module

    @property
    def device(self) -> torch.device:
        """Where its states are computed."""
        return next(self.module.parameters()).device

    @property
    def plans(self) -> Path | None:
        """The folder of the plans that were fitted to it; None: it has no folder."""
        return None if self.folder is None else self.folder / PLANS

    def to(self, device: str | torch.device) -> Model:
        """Move the network."""
        self.module.to(device)
        return self

    def compile(self, **options: Any) -> Model:
        """Compile the network with `torch.compile`, for the shapes that it meets; pays off over many evaluations.

        Args:
            options: of `torch.compile`, such as `mode`. The first evaluation at every batch size takes minutes or so.
        """
        self.module.net.compile(**{"dynamic": False, **options})
        return self

    def guided(
        self,
        weight: float | Tensor | None = None,
        classifier: Model | None = None,
        reuse: int = 1,
        temperature: float = 1.0,
        top_p: float = 1.0,
        *,
        interval: tuple[float, float] | None = None,
        rescale: float | None = None,
        projected: Projection | Mapping[str, Any] | bool | None = None,
        weaker: Model | str | Path | None = None,
        energy: EnergyFunction | None = None,
    ) -> nn.Module:
        """The denoiser under this model's guidance, or a classifier's; of another weight where given.

        With `reuse` above 1, and of tokens, it is for one run, whose condition names its samples; see
        `guide.FeatureReuse` and `guide.Remembered`. The rest is as in `sample`; None is the model's own.
        """
        w = self.sampling.guidance if weight is None else weight
        way = self._steering(interval, rescale, projected, weaker, energy)
        return guided(self, w, way, classifier, reuse, temperature, top_p)

    def weaker(self, place: Model | str | Path) -> Model:
        """A weaker version of this model to guide away from.

        Args:
            place: a model, its folder, or a file of weights of this very network, such as a run's `ema/*.safetensors`.

        Raises:
            PerrinError: a model of other states or classes, or weights of another network.
        """
        device = self.device
        if isinstance(place, Model):
            found = place.to(device)
        elif Path(place).is_file():
            module = self.design.module()
            load_weights(module.net, Path(place))
            found = Model(self.design, module.to(device), self.codec, self.sampling, Path(place))
        else:
            found = Model.load(place, device)
        same = same_states(self.codec, found.codec) and self.codec.classes == found.codec.classes
        if not same or type(self.denoiser) is not type(found.denoiser):
            raise PerrinError(
                f"{found.folder or 'the weaker model'} is no weaker version of this model: it is of other states or classes"
            )
        found.refuse_distilled("being guided away from")
        return found

    def _steering(self, interval: Any, rescale: Any, projected: Any, weaker: Any, energy: Any) -> Steering:
        found = None if weaker is None else self.weaker(weaker)
        way = settled(self.sampling, interval, rescale, projected, found, energy)
        for name in ("rescale", "projected", "weaker", "energy"):
            if getattr(way, name):
                self.refuse_distilled(name)
        return way

    def sample(
        self,
        n: int = 1,
        *,
        seed: int | Sequence[int] = 0,
        steps: int | Sequence[int | None] | None = None,
        solver: str | Sequence[str | None] | None = None,
        plan: Plan | Sequence[Plan | None] | None = None,
        guidance: float | Sequence[float | None] | None = None,
        classifier: Model | str | Path | None = None,
        reuse: int = 1,
        batch: int | None = None,
        progress: Callable[[int, int], None] | None = None,
        trace: bool = False,
        first: int = 0,
        known: Tensor | None = None,
        length: int | Sequence[int] | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        interval: tuple[float, float] | None = None,
        rescale: float | None = None,
        projected: Projection | Mapping[str, Any] | bool | None = None,
        weaker: Model | str | Path | None = None,
        energy: EnergyFunction | None = None,
        **conditions: Any,
    ) -> Samples:
        """Draw n samples; sample i is a function of (seed, i) and its condition, not of n or the batch.

        Args:
            n: how many.
            seed: which; steps, solver, plan: how, instead of the model's own; guidance: weight, 1 for none. Each of
                these is one for all samples, or a list with one for each, None being the model's own: samples on
                different plans and weights share network calls. Of a list of seeds sample i is (seed[i], first).
            classifier: a classifier of noisy states (or its folder) whose classes `label` then names; guidance is
                its weight: 0 for none, 1 (the default) for Bayes' rule, more for surer classes.
            reuse: with k > 1 only every k-th evaluation runs the lower resolutions of the network: faster, and
                slightly other samples.
            batch: how many at a time; by default what fits, halved when memory runs out.
            progress: called with (network evaluations done, in all) as they go.
            trace: keep the predicted clean states of every step, for `Samples.trajectory`; of tokens the states.
            first: index of the first sample (to make a later one of a series again).
            known: of tokens, int64 [L] or [n, L]: those that are given, K where one is to be drawn, -1 where there is no
                place; `codec.known(prompt, length)` and `codec.infill(pattern)` make them.
            length: of tokens, in the place of `known`: how many a sample has, or one number each; more than the
                context are drawn window by window. Lengths of the training data by default.
            temperature, top_p: of tokens, see `Sampling`; the model's own by default.
            interval: (low, high) levels within which to guide, (-inf, inf) for all; the model's own by default.
            rescale: 0 to 1, how far guided means keep their spread; projected: without what makes them larger, True or
                `{"eta": ..., "threshold": ...}`, see `guide.Projection`. Both are against what large weights overdo.
            weaker: guide away from a weaker version of the model (autoguidance), not from the unconditional one: a model, a
                folder, or weights of this network such as a run's `ema/*.safetensors`. It needs no classes.
            energy: clean states [B, *shape] -> [B], to be low: about the law times exp(-energy), see `guide.Energy`.
            conditions: `label=` a class name or index, or one for each sample, "none" for unconditional; a model
                with classes takes them in turn by default. Of states with several leaves what the codec's `outline`
                takes, such as `logp=2.5` of molecules.

        Raises:
            PerrinError: settings that do not fit the model.
        """
        check_counts(n=n, batch=1 if batch is None else batch)
        seed = seed.tolist() if hasattr(seed, "tolist") else seed  # of NumPy and torch
        keys = keys_of(n, seed, first)
        guide = self._guide(classifier)
        way = self._steering(interval, rescale, projected, weaker, energy)
        outline = self._outline(n, seed, first, length, conditions)
        labels = None if outline is not None else (guide or self)._labels([i for _, i in keys], conditions)
        aims = labels is not None or way.weaker is not None or bool(outline and outline.condition)
        weights = once(partial(self._weight, guide, way, aims), zip(each(n, guidance, "weights of guidance")))
        told = (each(n, plan, "plans"), each(n, solver, "solvers"), each(n, steps, "numbers of steps"))
        plans = once(partial(self._chosen, guide, way), zip(*told, weights, strict=True))
        asked = Request(plans, weights, keys, labels, trace, guide, reuse, outline=outline, steering=way)
        if outline is not None:
            self._refuse_tokens({"known": known, "temperature": temperature, "top_p": top_p})
            return draw(self, asked, batch, progress)
        marks = self._blanks(keys, known, length, temperature, top_p)
        if marks is not None:
            own = self.sampling
            asked = replace(
                asked,
                marks=marks,
                temperature=own.temperature if temperature is None else float(temperature),
                top_p=own.top_p if top_p is None else float(top_p),
            )
        return draw(self, asked, batch, progress)

    restore = asking.restore
    edit = repainting.edit

    def _weight(self, guide: Model | None, way: Steering, aims: bool, asked: float | None) -> float:
        """The weight of guidance that is asked for, or the model's own where there is something to guide towards."""
        w = self.sampling.weight(asked) if guide is None else 1.0 if asked is None else float(asked)
        if way.weaker is not None and asked is None and w == 1.0:
            raise PerrinError("weaker is guided away from by a weight above 1: give guidance")
        if w == 1.0 or aims:
            return w
        if asked is not None:
            raise PerrinError(f"guidance = {asked} needs something to guide towards, a class or a property")
        return 1.0

    def _chosen(
        self,
        guide: Model | None,
        way: Steering,
        plan: Plan | None,
        solver: str | None,
        steps: int | None,
        weight: float,
    ) -> Plan:
        """The plan that is asked for, as it is or by its solver and steps."""
        if plan is None:
            return self._plan(solver, steps, weight, guide is None, way)
        if steps is not None or solver is not None:
            raise PerrinError(
                "a plan holds its own solver and steps; give either a plan, or solver and steps"
            )
        self._warn_of_misfit(plan, weight, way, "it is used all the same")
        return plan

    def _blanks(
        self,
        keys: Sequence[tuple[int, int]],
        known: Tensor | None,
        length: int | Sequence[int] | None,
        temperature: float | None,
        top_p: float | None,
    ) -> Tensor | None:
        if self.design.categorical is not None:
            return blanks(self.codec, keys, known, length)
        self._refuse_tokens({"known": known, "length": length, "temperature": temperature, "top_p": top_p})
        return None

    def _refuse_tokens(self, given: dict[str, Any]) -> None:
        for name, value in given.items():
            if value is not None:
                raise PerrinError(f"{name} is for models of tokens alone, which this model is not")

    def _outline(
        self,
        n: int,
        seed: int | Sequence[int],
        first: int,
        length: int | Sequence[int] | None,
        wanted: dict[str, Any],
    ) -> Outline | None:
        """What is settled of samples whose states have several leaves."""
        if not isinstance(self.codec, Outlines):
            return None
        if not isinstance(seed, int):
            if self.codec.processes:
                raise PerrinError(
                    "samples whose states have several leaves are of one seed: give seed as a number"
                )
            if self.codec.classes:  # which are taken in turn, by the index that these samples share
                wanted = {"label": first % len(self.codec.classes), **wanted}
        if length is not None:
            wanted = {**wanted, "length": length}
        keyed: Any = seed  # of one leaf a list too
        return self.codec.outline(n, keyed, first, **wanted)

    def plan(
        self,
        solver: str | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        fitted: bool = True,
    ) -> Plan:
        """The plan that `sample` runs: one fitted to this model under this guidance, or the solver's.

        Args:
            solver, steps, guidance: the model's own by default. A plan of plans/ is taken where no solver is asked for
                and its evaluations are the steps.
            fitted: whether to look for one at all.

        Warns:
            UserWarning: a fitted plan is there and was fitted to other weights or another guidance; it is not used.
        """
        return self._plan(solver, steps, guidance, fitted, settled(self.sampling))

    def _plan(
        self, solver: str | None, steps: int | None, guidance: float | None, fitted: bool, way: Steering
    ) -> Plan:
        if self.sampling.evaluations is not None:  # a distilled model has its own levels, and guidance within
            return self.sampling.plan(solver, steps)
        clocks = {} if self.design.product is None else self.design.product.clocks
        weight = self.sampling.weight(guidance)
        count = self.sampling.steps if steps is None else steps
        found = find(self.plans, count) if fitted and solver is None else None
        if found is not None and not self._warn_of_misfit(
            found, weight, way, f"{self.sampling.solver} is used"
        ):
            return found
        return self.sampling.plan(solver, steps, clocks)

    def _warn_of_misfit(self, plan: Plan, weight: float, way: Steering, so: str) -> bool:
        reason = misfit(plan, self.hash, weight, way.facts)
        if reason is not None:
            warnings.warn(f"{reason}; {so}", stacklevel=3)
        return reason is not None

    def encode(self, data: Tensor | Sequence[Any], *, label: Any = None, **options: Any) -> Endpoint:
        """The latent codes of data at the noise end of the probability flow, where they are about N(0, I).

        Args:
            data: values in the user's format (images: uint8 arrays), or states [B, *shape].
            label: a class, or one for each item; "none", unconditional, by default.
            options: of `perrin.likelihood.encode`: steps, tolerance, level_range, ...

        Returns:
            `.state` [B, *shape], the codes; `.converged` [B].
        """
        return self._flow(encode, self.states(data), label, options)

    def decode(self, latent: Tensor, *, label: Any = None, **options: Any) -> Endpoint:
        """Latent codes [B, *shape] to clean states, the inverse of `encode`; `codec.decode` makes data of them."""
        return self._flow(decode, latent, label, options)

    def states(self, data: Tensor | Sequence[Any]) -> Tensor:
        """Data as states [B, *shape]; states stay as they are.

        Raises:
            PerrinError: values that the codec refuses, or states of another shape.
        """
        shape = tuple(single(self.codec.shape))
        if isinstance(data, Tensor):
            state = data
        else:
            items = as_items(data)
            state = single(encode_unchanged(self.codec, [items[i] for i in range(len(items))]).state)
        if tuple(state.shape[1:]) != shape:
            raise PerrinError(f"states have shape {tuple(state.shape[1:])}, this model's have {shape}")
        return state

    def _flow(
        self, carry: Callable[..., Endpoint], state: Tensor, label: Any, options: dict[str, Any]
    ) -> Endpoint:
        if self.design.categorical is not None:
            raise PerrinError("the probability flow is of continuous states; this is a model of tokens")
        self.refuse_distilled("the probability flow")
        unlabelled = label is None and not self.codec.classes
        asked = {} if unlabelled else {"label": "none" if label is None else label}
        labels = self._labels(range(len(state)), asked)
        device = self.device
        condition = None if labels is None else {"label": labels.to(device)}
        return carry(self.denoiser, state.to(device), condition=condition, **options)

    def _guide(self, classifier: Model | str | Path | None) -> Model | None:
        device = self.device
        if classifier is None:
            return None
        self.refuse_distilled("a classifier's guidance")
        guide = classifier.to(device) if isinstance(classifier, Model) else Model.load(classifier, device)
        where = guide.folder or "the classifier"
        if guide.classifier and not same_states(self.codec, guide.codec):
            raise PerrinError(
                f"{where} classifies other states than this model's: another kind, shape or scaling of the data"
            )
        if self.codec.classes and self.codec.classes != guide.codec.classes:
            raise PerrinError(f"{where} knows other classes than this model, which has classes itself")
        return guide

    def refuse_distilled(self, what: str) -> None:
        """Refuse `what` for a distilled model."""
        if self.sampling.evaluated is not None:
            raise PerrinError(
                f"{what} needs the mean of the clean state, which a distilled model no longer predicts; "
                f"use its teacher {self.about.get('teacher', '')}".rstrip()
            )

    def _labels(self, indices: Sequence[int], conditions: dict[str, Any]) -> Tensor | None:
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
            return torch.tensor(indices) % len(self.codec.classes)
        return torch.tensor([self.label(name) for name in each(len(indices), asked, "labels")])

    def label(self, name: Any) -> int:
        """The index of a class; "none" or -1 is unconditional."""
        if (isinstance(name, str) and name == "none") or name == -1:
            return -1
        return self.codec.label(name)

    log_prob = densities.model_log_prob

    def save(self, folder: str | Path, card: str | None = None, half: bool = False) -> Path:
        """Write a model folder; `half` stores the weights in half precision."""
        folder = Path(folder)
        weights = self.module.net.state_dict()
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
            design = Design(
                data["net"],
                data["parameterisation"],
                data["codec"],
                data.get("role", "denoiser"),
                data.get("process"),
            )
            sampling = Sampling(**{**data["sampling"], "interval": _pair(data["sampling"].get("interval"))})
        except (KeyError, TypeError) as error:
            raise PerrinError(f"{folder}/model.json is damaged: {error!r}") from error
        module = design.module()
        load_weights(module.net, folder / "model.safetensors")
        return Model(design, module.to(device), design.make_codec(), sampling, folder, data.get("about"))


def _pair(value: Sequence[float] | None) -> tuple[float, float] | None:
    return None if value is None else (float(value[0]), float(value[1]))
