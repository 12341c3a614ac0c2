"""A model: denoiser + codec + how to sample from it. What `perrin.load` returns, and the folder that holds it.

A model folder holds `model.json` (how to rebuild network, parameterisation and codec; sampling defaults),
`model.safetensors` and `README.md` (the card). A run folder is a model folder with training's own files beside.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from perrin.contracts import Codec, Outline, Outlines
from perrin.denoise.product import ProductDenoiser
from perrin.denoise.tokens import TokenDenoiser
from perrin.densities import Method, data_log_prob
from perrin.design import Denoising, Design, Sampling, as_denoiser, same_states
from perrin.encoded_items import as_items, encode_unchanged
from perrin.errors import PerrinError
from perrin.fitted import find, misfit
from perrin.guide import (
    Classifier,
    ClassifierFree,
    ClassifierGuidance,
    FeatureReuse,
    Remembered,
    SelfConditioned,
    Tempered,
)
from perrin.likelihood import Dequantiser, LogProb
from perrin.likelihood.probability_flow import Endpoint, decode, encode
from perrin.process.state import single
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
from perrin.windowed import blanks

FORMAT = 1


class Model:
    """A trained diffusion model, or the classifier of noisy states that guides one.

    Attributes:
        design: what it is made of; module: the network as its role says; codec: states <-> data.
        sampling: how to sample by default; folder: where it came from; hash: of its weights.
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
        self.hash = weights_hash(module.net.state_dict())

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
    ) -> nn.Module:
        """The denoiser under this model's guidance, or a classifier's; of another weight where given.

        With `reuse` above 1, and of tokens, it is for one run, whose condition names its samples; see
        `guide.FeatureReuse` and `guide.Remembered`.
        """
        w = self.sampling.guidance if weight is None else weight
        if isinstance(self.denoiser, ProductDenoiser):
            return self._of_leaves(self.denoiser, w, classifier, reuse)
        if isinstance(self.denoiser, TokenDenoiser):
            return self._writing(self.denoiser, w, classifier, reuse, temperature, top_p)
        denoiser = self.denoiser if reuse == 1 else FeatureReuse(self.denoiser, reuse)
        if classifier is not None:
            return ClassifierGuidance(denoiser, classifier.classifier, w, self.sampling.interval)
        if not isinstance(w, Tensor) and w == 1.0:
            return denoiser
        return ClassifierFree(denoiser, w, interval=self.sampling.interval)

    def _writing(
        self,
        denoiser: TokenDenoiser,
        w: float | Tensor,
        classifier: Model | None,
        reuse: int,
        temperature: float,
        top_p: float,
    ) -> nn.Module:
        if classifier is not None or reuse != 1:
            raise PerrinError("classifier and reuse are for continuous states; this is a model of tokens")
        made: nn.Module = Remembered(denoiser) if denoiser.timeless else denoiser
        if isinstance(w, Tensor) or w != 1.0:
            made = ClassifierFree(made, w, interval=self.sampling.interval)
        return made if temperature == top_p == 1.0 else Tempered(made, temperature=temperature, top_p=top_p)

    def _of_leaves(
        self, denoiser: ProductDenoiser, w: float | Tensor, classifier: Model | None, reuse: int
    ) -> nn.Module:
        if classifier is not None or reuse != 1:
            raise PerrinError("classifier and reuse are for states of one leaf; this model's have several")
        told = getattr(denoiser.net, "takes_previous", False)
        made: nn.Module = SelfConditioned(denoiser) if told else denoiser
        return (
            made
            if not isinstance(w, Tensor) and w == 1.0
            else ClassifierFree(made, w, interval=self.sampling.interval)
        )

    def sample(
        self,
        n: int = 1,
        *,
        seed: int = 0,
        steps: int | None = None,
        solver: str | None = None,
        plan: Plan | None = None,
        guidance: float | None = None,
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
        **conditions: Any,
    ) -> Samples:
        """Draw n samples; sample i is a function of (seed, i) and its condition, not of n or the batch.

        Args:
            n: how many.
            seed: which; steps, solver, plan: how, instead of the model's own; guidance: weight, 1 for none.
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
            conditions: `label=` a class name or index, or one for each sample, "none" for unconditional; a model
                with classes takes them in turn by default. Of states with several leaves what the codec's `outline`
                takes, such as `logp=2.5` of molecules.

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
        guide = self._guide(classifier)
        outline = self._outline(n, seed, first, length, conditions)
        labels = None if outline is not None else (guide or self)._labels(n, first, conditions)
        w = self.sampling.weight(guidance) if guide is None else 1.0 if guidance is None else float(guidance)
        if w != 1.0 and labels is None and not (outline and outline.condition):
            if guidance is not None:
                raise PerrinError(
                    f"guidance = {guidance} needs something to guide towards, a class or a property"
                )
            w = 1.0
        chosen = plan or self.plan(solver, steps, w, fitted=guide is None)
        if plan is not None:
            self._warn_of_misfit(plan, w, "it is used all the same")
        if outline is not None:
            self._refuse_tokens({"known": known, "temperature": temperature, "top_p": top_p})
            asked = Request(chosen, n, seed, first, None, w, trace, guide, reuse, outline=outline)
            return draw(self, asked, batch, progress)
        marks = self._blanks(n, seed, first, known, length, temperature, top_p)
        asked = Request(chosen, n, seed, first, labels, w, trace, guide, reuse, marks)
        if marks is not None:
            own = self.sampling
            asked = replace(
                asked,
                temperature=own.temperature if temperature is None else float(temperature),
                top_p=own.top_p if top_p is None else float(top_p),
            )
        return draw(self, asked, batch, progress)

    def _blanks(
        self,
        n: int,
        seed: int,
        first: int,
        known: Tensor | None,
        length: int | Sequence[int] | None,
        temperature: float | None,
        top_p: float | None,
    ) -> Tensor | None:
        if self.design.categorical is not None:
            return blanks(self.codec, n, seed, first, known, length)
        self._refuse_tokens({"known": known, "length": length, "temperature": temperature, "top_p": top_p})
        return None

    def _refuse_tokens(self, given: dict[str, Any]) -> None:
        for name, value in given.items():
            if value is not None:
                raise PerrinError(f"{name} is for models of tokens alone, which this model is not")

    def _outline(
        self, n: int, seed: int, first: int, length: int | Sequence[int] | None, wanted: dict[str, Any]
    ) -> Outline | None:
        """What is settled of samples whose states have several leaves."""
        if not isinstance(self.codec, Outlines):
            return None
        if length is not None:
            wanted = {**wanted, "length": length}
        return self.codec.outline(n, seed, first, **wanted)

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
        if self.sampling.evaluations is not None:  # a distilled model has its own levels, and guidance within
            return self.sampling.plan(solver, steps)
        clocks = {} if self.design.product is None else self.design.product.clocks
        weight = self.sampling.weight(guidance)
        count = self.sampling.steps if steps is None else steps
        found = find(self.folder, count) if fitted and solver is None else None
        if found is not None and not self._warn_of_misfit(found, weight, f"{self.sampling.solver} is used"):
            return found
        return self.sampling.plan(solver, steps, clocks)

    def _warn_of_misfit(self, plan: Plan, weight: float, so: str) -> bool:
        reason = misfit(plan, self.hash, weight, self.sampling.interval)
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
        self._refuse_distilled("the probability flow")
        unlabelled = label is None and not self.codec.classes
        asked = {} if unlabelled else {"label": "none" if label is None else label}
        labels = self._labels(len(state), 0, asked)
        device = next(self.denoiser.parameters()).device
        condition = None if labels is None else {"label": labels.to(device)}
        return carry(self.denoiser, state.to(device), condition=condition, **options)

    def _guide(self, classifier: Model | str | Path | None) -> Model | None:
        device = next(self.denoiser.parameters()).device
        if classifier is None:
            return None
        self._refuse_distilled("a classifier's guidance")
        guide = classifier.to(device) if isinstance(classifier, Model) else Model.load(classifier, device)
        where = guide.folder or "the classifier"
        if guide.classifier and not same_states(self.codec, guide.codec):
            raise PerrinError(
                f"{where} classifies other states than this model's: another kind, shape or scaling of the data"
            )
        if self.codec.classes and self.codec.classes != guide.codec.classes:
            raise PerrinError(f"{where} knows other classes than this model, which has classes itself")
        return guide

    def _refuse_distilled(self, what: str) -> None:
        if self.sampling.evaluated is not None:
            raise PerrinError(
                f"{what} needs the mean of the clean state, which a distilled model no longer predicts; "
                f"use its teacher {self.about.get('teacher', '')}".rstrip()
            )

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

    def log_prob(
        self,
        data: Any,
        *,
        method: Method | None = None,
        label: Any = "own",
        seed: int = 0,
        dequantise: Literal["uniform"] | Dequantiser | None = None,
        draws: int = 2,
        batch: int | None = None,
        progress: Callable[[int], None] | None = None,
        **options: Any,
    ) -> LogProb:
        """Log-likelihood of data in nats per item: a density in the user's units, or a probability of integers or texts.

        Args:
            data: a dataset of this model's kind, or a sequence of values [N, ...] as its codec decodes them. A window of a
                series has the log-density of what is not `given` of it, given the rest; one of data is a forecast of its
                last rows. Paths of one history have the same draws, so that their differences have little noise.
            method: 'ode', the probability flow, or 'bound', the variational bound: in discrete time where the
                model's own schedule is a chain. They are of two densities; for a trained model either may be larger.
                By default 'ode', and of texts, which have nothing else, 'bound'.
            label: 'own' (of the data; unlabelled items are unconditional), 'none', a class, or one for each item.
            seed: of the noise that estimates draw; an item's value is a function of (seed, its index), a window's of (seed,
                what is given of it).
            dequantise: of integer data: 'uniform' (what 'ode' does by default) or a fitted `Dequantiser`; by default
                'bound' has a factor for whole numbers of its own. draws: of that noise.
            batch: items at a time; progress: called with the number of items done since the last call.
            options: of `perrin.likelihood.log_prob` (divergence, probes, steps, tolerance, ...) or `bound` (samples, ...);
                of texts `left`, the tokens of context that a passage of a long text is given.

        Raises:
            PerrinError: data of another shape or range than the model's, dequantisation of continuous data.
        """
        self._refuse_distilled("a likelihood")
        return data_log_prob(self, data, method, label, seed, dequantise, draws, batch, progress, options)

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
