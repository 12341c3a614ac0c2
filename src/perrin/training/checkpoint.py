"""Training state on disk: safetensors and JSON, whole or absent, the newest one named by a pointer.

    state/step-00001200/{weights,optimiser,ema-0.050,...}.safetensors, state.json
    state/latest.json     {"folder": "step-00001200"}

A new state is written beside the old one, then the pointer is renamed into place, then the old one is removed: a
kill at any moment leaves a state that loads. The newest state is never written again: steps are exact, so another
state of the same step would be the same.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from perrin.errors import PerrinError
from perrin.saving import load_tensors, read_json, save_tensors, write_json
from perrin.training.ema import PowerEMA
from perrin.training.sharding import placed


def save(
    folder: Path,
    step: int,
    weights: dict[str, Tensor],
    optimiser: dict[str, Any],
    ema: PowerEMA,
    facts: dict[str, Any],
) -> None:
    """Write the state after `step`, all of it whole tensors, and make it the newest; `optimiser` is its state_dict."""
    state = folder / "state"
    target = state / f"step-{step:08d}"
    if newest(folder) == target:
        return
    shutil.rmtree(target, ignore_errors=True)  # what a kill left of it
    save_tensors(target / "weights.safetensors", weights)
    tensors, rest = _flatten(optimiser)
    save_tensors(target / "optimiser.safetensors", tensors)
    for std, average in ema.averages.items():
        save_tensors(target / f"ema-{std:.3f}.safetensors", average)
    write_json(target / "state.json", {"step": step, "optimiser": rest, **facts})
    write_json(state / "latest.json", {"folder": target.name})
    for old in state.glob("step-*"):
        if old != target:
            shutil.rmtree(old, ignore_errors=True)


def newest(folder: Path) -> Path | None:
    """The folder of the newest state of a run; None before the first."""
    pointer = folder / "state" / "latest.json"
    return folder / "state" / str(read_json(pointer, "pointer")["folder"]) if pointer.is_file() else None


def load(
    state: Path, weights: dict[str, Tensor], optimiser: torch.optim.Optimizer, ema: PowerEMA
) -> dict[str, Any]:
    """Put a state back in place; returns its facts, with "step".

    Raises:
        PerrinError: a state that is damaged or of another network.
    """
    facts = read_json(state / "state.json", "training state")
    _copy(load_tensors(state / "weights.safetensors"), weights, state)
    for std, average in ema.averages.items():
        _copy(load_tensors(state / f"ema-{std:.3f}.safetensors"), average, state)
    moments = _unflatten(load_tensors(state / "optimiser.safetensors"), facts["optimiser"])
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    for index, entries in moments["state"].items():
        moments["state"][index] = {name: placed(value, parameters[index]) for name, value in entries.items()}
    optimiser.load_state_dict(moments)
    return facts


@torch.no_grad()
def _copy(source: dict[str, Tensor], target: dict[str, Tensor], where: Path) -> None:
    for name, value in target.items():
        if name not in source or source[name].shape != value.shape:
            raise PerrinError(f"{where} holds the state of another network: {name!r} differs")
        value.copy_(placed(source[name], value))


def _flatten(state: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    tensors, rest = {}, dict[str, dict[str, Any]]()
    for index, entries in state["state"].items():
        for name, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"{index}.{name}"] = value
            else:
                rest.setdefault(str(index), {})[name] = value
    return tensors, {"groups": state["param_groups"], "rest": rest}


def _unflatten(tensors: dict[str, Tensor], rest: dict[str, Any]) -> dict[str, Any]:
    state: dict[int, dict[str, Any]] = {int(k): dict(v) for k, v in rest["rest"].items()}
    for key, value in tensors.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = value
    return {"state": state, "param_groups": rest["groups"]}
