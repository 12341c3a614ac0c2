"""What every verb shares: --device and --json, JSON on standard output, progress on standard error."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from perrin.errors import PerrinError

Device = Annotated[
    str, typer.Option("--device", help="auto, cpu, cuda, cuda:1; auto takes a GPU where there is one.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output, for scripts.")]


def choose_device(name: str) -> str:
    """The torch device that `name` means here.

    Raises:
        PerrinError: when this machine does not have it.
    """
    import torch

    have = ["cpu"] + [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    if name == "mps":  # it has no float64, and levels and plans are float64
        raise PerrinError("device 'mps' has no float64, which levels are computed in; use cpu")
    if name == "auto":
        return have[1] if len(have) > 1 else "cpu"
    wanted = "cuda:0" if name == "cuda" else name
    if wanted not in have:
        raise PerrinError(f"device {name!r} is not on this machine; it has {', '.join(have)}")
    return wanted


def program() -> str:
    """How this person calls perrin: by name where the shell finds it, else by the path that they used."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return "python -m perrin"
    found = shutil.which("perrin")
    if found is not None and Path(found).resolve() == called.resolve():
        return "perrin"
    return str(called) if called.name == "perrin" else "perrin"


def emit(facts: Any) -> None:
    """Print `facts` as JSON on standard output; what JSON does not know (paths, numbers of numpy) as text."""
    print(json.dumps(facts, indent=2, default=str))


@contextmanager
def progress(task: str, total: int | None = None, every: float = 5.0) -> Iterator[Callable[..., None]]:
    """A progress display on standard error; yields `advance(done=1, note="", total=total)`.

    A bar on a terminal, otherwise a line at most every `every` seconds and one at the end, so that logs stay
    short. Standard output is left to results.

        with progress("sampling", total=64) as advance:
            for _ in range(64):
                advance(note="64x64")
    """
    if sys.stderr.isatty():
        yield from _bar(task, total)
    else:
        yield from _lines(task, total, every)


def _bar(task: str, total: int | None) -> Iterator[Callable[..., None]]:
    from rich import progress as rich_progress
    from rich.console import Console

    columns = (
        rich_progress.TextColumn("{task.description}"),
        rich_progress.BarColumn(),
        rich_progress.MofNCompleteColumn(),
        rich_progress.TimeRemainingColumn(),
        rich_progress.TextColumn("{task.fields[note]}"),
    )
    with rich_progress.Progress(*columns, console=Console(stderr=True)) as display:
        row = display.add_task(task, total=total, note="")

        def advance(done: int = 1, note: str = "", total: int | None = total) -> None:
            display.update(row, advance=done, note=note, total=total)

        yield advance


def _lines(task: str, total: int | None, every: float) -> Iterator[Callable[..., None]]:
    count, told, last_note, whole, start = 0, -1, "", total, time.monotonic()
    due = start + every

    def write() -> None:
        nonlocal told
        told = count
        share = f"{count}/{whole}" if whole else f"{count}"
        print(f"{task}: {share} in {time.monotonic() - start:.0f} s {last_note}".rstrip(), file=sys.stderr)

    def advance(done: int = 1, note: str = "", total: int | None = total) -> None:
        nonlocal count, last_note, due, whole
        count, last_note, whole = count + done, note, total
        if time.monotonic() >= due:
            write()
            due = time.monotonic() + every

    yield advance
    if told != count:
        write()
