"""The facts that `perrin doctor` shows, each from the place that knows it."""

from __future__ import annotations

import os
import platform
import re
import shutil
import time
from importlib import metadata
from types import ModuleType
from typing import Any

import perrin

GIB = 2**30


def examine() -> dict[str, Any]:
    """Everything `perrin doctor` reports, JSON-able; a torch that cannot be imported is a finding."""
    facts: dict[str, Any] = {
        "perrin": perrin.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "memory_gib": memory(),
        "disk_free_gib": round(shutil.disk_usage(".").free / GIB, 1),
        "packages": packages(),
        "extras": extras(),
    }
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: a shared library that does not load
        return facts | {"torch": f"cannot be imported: {error}"}
    device = "cuda:0" if torch.cuda.is_available() else "cpu"
    return facts | {
        "torch": torch_build(torch),
        "accelerators": accelerators(torch),
        "self_check": self_check(torch, device),
    }


def torch_build(torch: ModuleType) -> dict[str, Any]:
    """torch's version, what it was built for, and the threads that it will use."""
    return {
        "version": torch.__version__,
        "cuda": torch.version.cuda or "not in this build",
        "threads": torch.get_num_threads(),
        "cpu_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
    }


def accelerators(torch: ModuleType) -> list[str]:
    """The devices that `--device` accepts beside cpu, with their memory."""
    found = []
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        found.append(f"cuda:{index} {properties.name} {properties.total_memory / GIB:.0f} GiB")
    return found


def memory() -> dict[str, float]:
    """Total and available main memory in GiB, where the system tells."""
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        pages = {"total": os.sysconf("SC_PHYS_PAGES"), "available": os.sysconf("SC_AVPHYS_PAGES")}
    except (AttributeError, ValueError, OSError):  # not a POSIX system
        return {}
    return {name: round(count * page / GIB, 1) for name, count in pages.items()}


def packages() -> dict[str, str]:
    """The versions of the packages that Perrin always needs."""
    return {name: installed(name) or "missing" for name, extra in requirements() if extra is None}


def extras() -> dict[str, str]:
    """For every extra: the versions of its packages, or the command that installs it."""
    wanted: dict[str, list[str]] = {}
    for name, extra in requirements():
        if extra is not None:
            wanted.setdefault(extra, []).append(name)
    return {extra: _extra_state(extra, names) for extra, names in wanted.items()}


def requirements() -> list[tuple[str, str | None]]:
    """(package, extra or None) for every requirement that the installed Perrin declares."""
    try:
        lines = metadata.requires("perrin") or []
    except metadata.PackageNotFoundError:  # run from a source tree that was not installed
        return []
    found = []
    for line in lines:
        extra = re.search(r"extra\s*==\s*['\"]([\w-]+)['\"]", line)
        found.append((re.split(r"[^\w.-]", line, maxsplit=1)[0], extra[1] if extra else None))
    return found


def installed(package: str) -> str | None:
    """The version of an installed package, None where there is none."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def self_check(torch: ModuleType, device: str) -> dict[str, Any]:
    """One forward and backward convolution step on `device`: its time, and whether its gradient is right.

    The gradient of sum(conv(x, w) + bias) with respect to the bias is the number of output positions.
    """
    convolution = torch.nn.Conv2d(32, 32, 3, padding=1).to(device)
    x = torch.ones(16, 32, 32, 32, device=device)
    for _ in range(3):  # the first steps pay for the choice of a kernel
        convolution.zero_grad()
        start = time.perf_counter()
        convolution(x).sum().backward()
        right = bool((convolution.bias.grad == 16 * 32 * 32).all())  # waits for the device
        seconds = time.perf_counter() - start
    return {"device": device, "gradient_is_right": right, "convolution_step_ms": round(1000 * seconds, 2)}


def _extra_state(extra: str, names: list[str]) -> str:
    versions = {name: installed(name) for name in names}
    if all(versions.values()):
        return ", ".join(f"{name} {version}" for name, version in versions.items())
    return f"not installed: pip install 'perrin[{extra}]'"
