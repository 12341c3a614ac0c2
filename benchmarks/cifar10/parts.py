"""Training in parts: a call ends in time, leaves a state, and the next one goes on from it."""

from __future__ import annotations

import signal
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import perrin
from perrin.saving import read_json, write_json


class OutOfTime(Exception):
    """The part is over; what is done is kept."""


class Clock:
    """The time of one call of the script.

    Args:
        seconds: after which it is to end; None for no end.
    """

    def __init__(self, seconds: float | None) -> None:
        self.started, self.seconds = time.monotonic(), seconds

    @property
    def over(self) -> bool:
        """Whether the call is to end."""
        return self.seconds is not None and time.monotonic() - self.started > self.seconds

    def check(self, *progress: object) -> None:
        """End the call where it is over; takes whatever a progress callback is told."""
        if self.over:
            raise OutOfTime


class Steps:
    """The progress callback of training: notes when every step was done, and ends the part by SIGTERM, which saves."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.begun = clock, time.monotonic()
        self.times: list[tuple[int, float]] = []

    def __call__(self, done: int, total: int, note: str) -> None:
        self.times.append((done, time.monotonic()))
        if self.clock.over and done < total:
            signal.raise_signal(signal.SIGTERM)
        if done % 100 == 0:
            print(f"step {done}: {note}", flush=True)

    def record(self) -> dict[str, Any]:
        """Steps and times of this part; the median step leaves out pauses for validating and saving."""
        (first, early), (last, late) = self.times[0], self.times[-1]
        gaps = [b - a for (_, a), (_, b) in zip(self.times, self.times[1:], strict=False)]
        return {
            "first": first,
            "last": last,
            "seconds_before_first": early - self.begun,  # reading data and compiling
            "seconds": late - early,
            "seconds_a_step": statistics.median(gaps) if gaps else None,
        }


def train(
    folder: Path, clock: Clock, device: str, recipe: str | Mapping[str, Any], **sections: Any
) -> list[dict[str, Any]]:
    """Train a recipe in `folder`, or go on with it; returns the records of all parts.

    Raises:
        OutOfTime: the part ended before training did.
    """
    place = folder / "parts.json"
    records: list[dict[str, Any]] = list(read_json(place, "parts")["parts"]) if place.exists() else []
    if records and records[-1]["finished"]:
        return records
    steps, finished = Steps(clock), False
    try:
        if (folder / "state" / "latest.json").exists():
            perrin.train(folder, resume=True, device=device, progress=steps)
        else:
            perrin.train(recipe, out=folder, overwrite=True, device=device, progress=steps, **sections)
        finished = True
    except KeyboardInterrupt:  # the state is saved
        if not steps.times:
            raise
    write_json(place, {"parts": [*records, {**steps.record(), "finished": finished}]})
    if not finished:
        raise OutOfTime
    return list(read_json(place, "parts")["parts"])
