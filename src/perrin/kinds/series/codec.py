"""Time series <-> states: windows [C, T], transformed and standardised by what is given of them; see `encoding`.

The condition tells a network `observed` and `valid` (bool [B, C, T]), `covariates` (float [B, K, T]: the calendar, then
what is known for the future) and `static` (float [B, S]). What is given in the user's units goes with it as `given`
(float64 [B, C, T], NaN elsewhere), `before` (float64 [B, C], the row before the window) and `times` (int64 [B, T]): they
are for `decode_given` and `log_det_given`, not for networks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from perrin.contracts import Batch, Dataset, Item, Outline
from perrin.errors import PerrinError
from perrin.kinds.animation import save_animation
from perrin.kinds.conditions import label_condition
from perrin.kinds.labels import find_label
from perrin.kinds.series import measuring, saving
from perrin.kinds.series.calendars import calendar, cycles
from perrin.kinds.series.encoding import Scaling, plain, stacked
from perrin.kinds.series.fan_chart import fan_chart
from perrin.kinds.series.frequency import Frequency, Unit, time_of
from perrin.kinds.series.outlining import outlined
from perrin.kinds.series.parts import SeriesData, cut
from perrin.kinds.series.tasks import checked, draw_task
from perrin.kinds.series.transforms import Chain
from perrin.kinds.series.window import SeriesWindow, of_array
from perrin.process.state import Masks
from perrin.registry import unknown

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class SeriesCodec:
    """Codec of the kind `series` (`contracts.Codec`).

    Args:
        names: of the columns. context, horizon: rows of a state that come before, and that are forecast.
        classes: class names, index = label; None for series without labels.
        sigma_data: standard deviation of the states' drawn entries.
        transforms: the chain of every column, as (name, parameter) pairs.
        location, scale: of transformed training values, [C]; level: the last training values, [C].
        unit, step: the frequency; end: the last training time, or its row.
        tasks: shares of forecast, impute, backcast and generate in training.
        known, static: (mean, deviation) of each covariate and each static feature.
    """

    names: list[str]
    context: int
    horizon: int
    classes: list[str] | None
    sigma_data: float
    transforms: list[list[list[Any]]]
    location: list[float]
    scale: list[float]
    level: list[float]
    unit: Unit
    step: int
    end: str | int
    tasks: dict[str, float]
    known: list[list[float]]
    static: list[list[float]]

    kind: ClassVar[str] = "series"

    @classmethod
    def fit(
        cls,
        dataset: Dataset,
        *,
        horizon: int | None = None,
        context: int | None = None,
        transform: str | list[str] | dict[str, Any] = "identity",
        tasks: dict[str, float] | None = None,
        labels: bool = True,
    ) -> Self:
        """Measure transforms and scales on the training rows.

        Args:
            horizon: steps to forecast; default: a season, or 30, and a fifth of the shortest series at most.
            context: rows before them that a model sees; default: 7 seasons or 3 horizons, as far as the data reach.
            transform: of all columns or by column: identity, log, box_cox, asinh, difference, cumulative, or a list of
                them applied one after another, such as [log, difference].
            tasks: shares of forecast, impute, backcast, generate; default: .7, .15, .05, .1. Columns with a difference
                cannot be imputed, since what fills a gap would have to meet its far side.
            labels: False makes states without classes; the data keep their labels.

        Raises:
            PerrinError: a horizon longer than the data, values that a transform does not take (with the row), tasks that
                do not go with the transforms.
        """
        data = measuring.whole_series(dataset)
        horizon, context = measuring.sizes(data, horizon, context)
        chains = measuring.chains(data, transform)
        scaling = measuring.scaling(data, chains)
        window = data.parts[0].window
        made = cls(
            list(window.names), context, horizon, data.classes if labels else None, 1.0,
            [chain.config() for chain in chains], scaling.location.tolist(), scaling.scale.tolist(),
            measuring.levels(data), data.frequency.unit, data.frequency.step, measuring.last_time(data),
            _tasks(tasks, chains),
            measuring.moments([part.own.known for part in data.parts]),
            measuring.moments([part.own.static[:, None] for part in data.parts]),
        )  # fmt: skip
        return replace(made, sigma_data=measuring.spread(made, made.cut(data)))

    @property
    def shape(self) -> tuple[int, ...]:
        """[C, context + horizon]."""
        return (len(self.names), self.context + self.horizon)

    @property
    def processes(self) -> dict[str, dict[str, Any]]:
        """None: the state is one Gaussian leaf."""
        return {}

    @property
    def tells(self) -> dict[str, int]:
        """How many covariates, the calendar's waves and the data's own, and static features a network is told of."""
        waves = 0 if self.unit == "rows" else 2 * len(cycles(self.frequency))
        return {"covariates": waves + len(self.known), "static": len(self.static)}

    @property
    def properties(self) -> list[str]:
        """None: what is told of a series is `static`."""
        return []

    @property
    def lattice(self) -> None:
        """None: values are continuous."""
        return None

    @property
    def categories(self) -> None:
        """None: states are continuous."""
        return None

    @property
    def augments(self) -> bool:
        """Whether seeds change what `encode` gives: they choose the task and its gaps."""
        return len(self.tasks) > 1 or "impute" in self.tasks

    @property
    def frequency(self) -> Frequency:
        """Of the rows."""
        return Frequency(self.unit, self.step)

    @cached_property
    def scaling(self) -> Scaling:
        """Transforms of the columns and the training data's scales."""
        chains = tuple(Chain.from_config(config) for config in self.transforms)
        return Scaling(chains, np.array(self.location), np.array(self.scale))

    @property
    def differences(self) -> bool:
        """Whether some column is a sum of differences, so that gaps in it cannot be filled."""
        return any(chain.difference for chain in self.scaling.chains)

    def cut(self, dataset: Dataset) -> Dataset:
        """Windows of whole series; windows stay as they are."""
        found: Dataset = (
            cut(dataset, self.context, self.horizon) if isinstance(dataset, SeriesData) else dataset
        )
        return found

    def length(self, u: float) -> int:
        """The rows of a state: all have the same."""
        return self.shape[1]

    def encode(self, items: Sequence[Item], seeds: Sequence[int] | None = None) -> Batch:
        """Windows of one length to a batch; a seed chooses what is given, without seeds it is a forecast's history.

        A window of which it is known what was given, such as one that a model completed, keeps that.

        Raises:
            PerrinError: windows of other columns or lengths, or values that a transform does not take.
        """
        windows = [self.checked(item["value"], item["name"]) for item in items]
        chosen: Sequence[int | None] = seeds if seeds is not None else [None] * len(items)
        length = windows[0].shape[1] if windows else self.shape[1]
        horizon = min(self.horizon, length - 1)
        drawn = [
            draw_task(self.tasks, len(self.names), length, horizon, seed)
            if w.given is None
            else ("", w.given)
            for w, seed in zip(windows, chosen, strict=True)
        ]
        values = stacked([w.values for w in windows], "windows")
        before = stacked([w.before for w in windows], "windows")
        # a backcast knows nothing of what came before, and what it draws must not begin there
        late = np.array([task == "backcast" for task, _ in drawn])
        before = np.where(late[:, None], np.nan, before)
        given = np.stack([mask for _, mask in drawn]) & ~np.isnan(values)
        return self.batch(windows, values, before, given, label_condition(items, self.classes))

    def batch(
        self,
        windows: Sequence[SeriesWindow],
        values: np.ndarray,
        before: np.ndarray,
        given: np.ndarray,
        labels: dict[str, Tensor] | None,
    ) -> Batch:
        """A batch of values [B, C, T] of which `given` is given."""
        scaled = self.scaling.scaled(values, before, given)
        valid, observed = torch.from_numpy(scaled.valid), torch.from_numpy(scaled.observed)
        shown = np.where(given, values, np.nan)
        condition = {"observed": observed, "valid": valid, **self.told(windows), **(labels or {})}
        condition |= {"given": torch.from_numpy(shown), "before": torch.from_numpy(before)}
        return Batch(scaled.state, condition, Masks(valid=valid, observed=observed))

    def told(self, windows: Sequence[SeriesWindow]) -> dict[str, Tensor]:
        """What the condition says of windows beside their values: covariates, static features, times."""
        times = stacked([w.times for w in windows], "times")
        waves = calendar(times, cycles(self.frequency)) if times.dtype.kind == "M" else None
        known = _standard(stacked([w.known for w in windows], "covariates"), self.known)
        told = known if waves is None else np.concatenate([waves, known], 1)
        found = {"times": torch.from_numpy(times.astype(np.int64))}
        if told.shape[1]:
            found["covariates"] = torch.from_numpy(told.astype(np.float32))
        if self.static:
            static = _standard(
                stacked([w.static for w in windows], "static features")[..., None], self.static
            )
            found["static"] = torch.from_numpy(static[..., 0].astype(np.float32))
        return found

    def checked(self, value: Any, name: str) -> SeriesWindow:
        """A window, or an array [C, T] that ends where the training data do, as a window that this codec holds.

        Raises:
            PerrinError: other columns, other covariates, or values that a transform does not take.
        """
        window = value if isinstance(value, SeriesWindow) else of_array(value, tuple(self.names), self._times)
        if list(window.names) != self.names:
            raise PerrinError(
                f"{name} has columns {', '.join(window.names)}; this model's are {', '.join(self.names)}"
            )
        if len(window.known) != len(self.known) or len(window.static) != len(self.static):
            raise PerrinError(
                f"{name} has {len(window.known)} covariates and {len(window.static)} static features; this model was "
                f"trained with {len(self.known)} and {len(self.static)}"
            )
        if (window.times.dtype.kind == "M") == (self.unit == "rows"):
            raise PerrinError(
                f"{name} has {'times' if self.unit == 'rows' else 'no times'}, unlike the training data"
            )
        self.scaling.refuse(window.values, self.names, window.times, name)
        return window

    def _times(self, count: int) -> np.ndarray:
        """The last `count` times of the training data."""
        following = self.frequency.after(time_of(self.end), 1)[0]
        return self.frequency.before(following, count)

    def decode(self, state: Tensor) -> list[SeriesWindow]:
        """States of which nothing was given, at the training data's scale and level, after its end."""
        outline = self.outline(len(state), 0, 0, task="generate", length=state.shape[-1])
        return self.decode_given(state, outline.condition)

    def decode_given(self, state: Tensor, condition: Mapping[str, Tensor]) -> list[SeriesWindow]:
        """States [B, C, T] to windows in the user's units; what was given stays, to the bit.

        Raises:
            PerrinError: a state with NaN, of another shape, or a condition without `given`.
        """
        if state.dim() != 3 or state.shape[1] != len(self.names):
            raise PerrinError(f"states have shape {tuple(state.shape)}; [B, {len(self.names)}, T] is needed")
        values = state.detach().cpu().double()
        finite = np.isfinite(values.numpy()).all((1, 2))
        if not finite.all():
            bad = np.flatnonzero(~finite)
            raise PerrinError(f"state {bad[0]} holds NaN or infinity ({len(bad)} of {len(finite)} do)")
        given, before = plain(condition, "given"), plain(condition, "before")
        there = ~np.isnan(given) | self._ends(plain(condition, "valid"))  # the rest is filling
        decoded = np.where(there, self.scaling.decoded(values, given, before).numpy(), np.nan)
        times = plain(condition, "times")
        stamps = times if self.unit == "rows" else times.astype("datetime64[us]")
        rows = zip(
            stamps, decoded, before, ~np.isnan(given), *self._known(condition, values.shape), strict=True
        )
        return [SeriesWindow(tuple(self.names), t, v, b, g, k, s) for t, v, b, g, k, s in rows]

    def _ends(self, valid: np.ndarray) -> np.ndarray:
        """Which values [B, C, T] the valid entries of a state are of: a difference is of the value before it too."""
        before = np.concatenate([valid[..., 1:], np.zeros_like(valid[..., :1])], -1)
        differences = np.array([chain.difference for chain in self.scaling.chains])
        found: np.ndarray = valid | (before & differences[:, None])
        return found

    def _known(self, condition: Mapping[str, Tensor], shape: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Covariates [B, K, T] and static features [B, S] of what `told` says; a missing one is the training mean."""
        known, static = np.zeros((shape[0], 0, shape[2])), np.zeros((shape[0], 0))
        if self.known:
            last = plain(condition, "covariates")[:, -len(self.known) :]  # the calendar's come first
            mean, deviation = np.array(self.known).T[..., None]
            known = mean + deviation * last
        if self.static:
            mean, deviation = np.array(self.static).T
            static = mean + deviation * plain(condition, "static")
        return known, static

    def log_det_given(self, values: Any, condition: Mapping[str, Tensor]) -> Tensor:
        """`log |d state / d value|` float64 [B] of the drawn values of windows [B, C, T] under their condition.

        Add it to the log-density of the drawn entries of a state to have a log-density in the user's units.
        """
        held = np.stack([self.checked(value, "the window").values for value in values])
        return torch.from_numpy(
            self.scaling.log_det(held, plain(condition, "given"), plain(condition, "before"))
        )

    def outline(self, n: int, seed: int, first: int, **wanted: Any) -> Outline:
        """What is settled of samples (seed, first) .. (seed, first + n - 1); see `outlining.outlined`."""
        return outlined(self, n, seed, first, **wanted)

    def save(
        self, decoded: Sequence[SeriesWindow], path: Path, provenance: Sequence[dict[str, Any]]
    ) -> list[Path]:
        """Write windows as a table or a picture with their provenance; see `saving.save_windows`."""
        return saving.save_windows(decoded, Path(path), provenance)

    def picture(self, decoded: Sequence[SeriesWindow], columns: int | None = None) -> Image | None:
        """A fan chart; see `fan_chart`."""
        return fan_chart(decoded)

    def save_trajectory(
        self,
        states: Sequence[Tensor],
        path: Path,
        provenance: Sequence[dict[str, Any]],
        condition: Mapping[str, Tensor] | None = None,
    ) -> Path:
        """Write states [B, C, T], in the order in which they came about, as an animated GIF of their fan charts."""
        shown = [self.decode(s) if condition is None else self.decode_given(s, condition) for s in states]
        frames = [picture for windows in shown if (picture := fan_chart(windows)) is not None]
        return save_animation(frames, path, {"items": [dict(one) for one in provenance]})

    def label(self, name: str | int) -> int:
        """The index of a class by its name, or by its index; the nearest name in the error."""
        return find_label(self.classes, name)

    def log_det(self) -> float:
        """Refused: every window has a Jacobian of its own; see `log_det_given`."""
        raise PerrinError(
            "every window of a series has a scale of its own: log_det_given(values, condition) has its Jacobian"
        )

    def config(self) -> dict[str, Any]:
        """JSON-able, complete."""
        return {"kind": self.kind, **asdict(self)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The codec that wrote this `config()`."""
        known = [field.name for field in fields(cls)]
        for key in config:
            if key not in (*known, "kind"):
                raise unknown("codec option", key, known)
        return cls(**{key: value for key, value in config.items() if key != "kind"})


def _tasks(asked: dict[str, float] | None, chains: Sequence[Chain]) -> dict[str, float]:
    shares = checked(asked or {"forecast": 0.7, "impute": 0.15, "backcast": 0.05, "generate": 0.1})
    if "impute" in shares and any(chain.difference for chain in chains):
        if asked is not None:
            raise PerrinError(
                "a column with a difference cannot be imputed: what fills a gap would have to meet its far side; leave "
                "impute out of tasks, or use another transform (log, asinh, identity)"
            )
        shares.pop("impute")
        shares = checked(shares)
    return shares


def _standard(values: np.ndarray, moments: Sequence[Sequence[float]]) -> np.ndarray:
    """`(v - mean) / deviation` of [B, K, T], 0 where a value is missing."""
    mean, deviation = np.array(moments).reshape(-1, 2).T[..., None]
    return np.nan_to_num((values - mean) / deviation)
