"""How much of a device training uses, and how fast it samples.

    MFU = (floating-point operations of the network in one step) (steps per second) / (the device's peak)

(Chowdhery et al. 2022, arXiv:2204.02311, appendix B.) Operations are those of convolutions and matrix products, a
multiplication and an addition being two; norms, activations, optimiser and averages count nothing and take time.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from perrin.design import Design
from perrin.model import Model
from perrin.sample import Plan
from perrin.samples import Samples

PEAKS = {"H200": 989e12, "H100 80GB HBM3": 989e12, "H100 PCIe": 756e12, "A100": 312e12, "L40S": 362e12}
"""Part of a device's name -> dense bfloat16 operations per second, from the vendor's data sheets."""


def device_name(device: str) -> str:
    """What the device calls itself."""
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device


def peak(name: str) -> float | None:
    """Operations per second of a device; None where it is not in `PEAKS`."""
    return next((value for part, value in PEAKS.items() if part in name), None)


def operations(design: Design, batch: int) -> int:
    """Of one forward and backward pass of the network over `batch` items; nothing is computed."""
    with torch.device("meta"):
        denoiser = design.module()
        x = torch.empty(batch, *design.net["shape"])
        level = torch.zeros(batch, dtype=torch.float64)
        condition = {"label": torch.zeros(batch, dtype=torch.long)} if design.net["classes"] else None
        with FlopCounterMode(display=False) as counter:
            denoiser(x, level, condition).mean.sum().backward()
    return int(counter.get_total_flops())


def utilisation(parts: list[dict[str, Any]], flops: int, name: str) -> dict[str, Any]:
    """Steps per second and the share of the peak, in the median step and over the whole of training."""
    gaps = sorted(p["seconds_a_step"] for p in parts if p["seconds_a_step"])
    median = gaps[len(gaps) // 2]
    overall = sum(p["seconds"] for p in parts) / max(1, sum(p["last"] - p["first"] for p in parts))
    top = peak(name)
    return {
        "device": name,
        "operations_per_step": flops,
        "peak": top,
        "steps": parts[-1]["last"],
        "steps_per_second": 1 / median,
        "steps_per_second_overall": 1 / overall,
        "utilisation": None if top is None else flops / median / top,
        "utilisation_overall": None if top is None else flops / overall / top,
        "seconds_of_training": sum(p["seconds"] for p in parts),
        "seconds_before_first_steps": [p["seconds_before_first"] for p in parts],
    }


def draw(model: Model, count: int, plan: Plan, batch: int, first: int = 0) -> Samples:
    """Samples of seed 0, the network in bfloat16 where it was trained so: on an accelerator."""
    kind = next(model.module.parameters()).device.type
    with torch.autocast(kind, torch.bfloat16, enabled=kind != "cpu"):
        return model.sample(count, seed=0, plan=plan, batch=batch, first=first)


def sampling_rate(model: Model, evaluations: int, count: int, batch: int) -> dict[str, Any]:
    """Images per second of `count` samples, `batch` at a time, after one batch to warm up; they end on the host."""
    plan = model.sampling.plan(steps=evaluations)
    draw(model, batch, plan, batch)
    started = time.perf_counter()
    draw(model, count, plan, batch, first=batch)
    return {"evaluations": plan.nfe, "images_per_second": count / (time.perf_counter() - started)}
