"""The report of a race: a markdown table of judged runs, with what is needed to read and repeat it."""

from __future__ import annotations

import datetime
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from judge import Judge

COLUMNS = ["contender", "lr", "CPU-seconds", "steps", "images", "parameters", "samples"]
COLUMNS += ["Frechet distance", "class accuracy"]
HEADER = f"| {' | '.join(COLUMNS)} |\n" + "| --- " * len(COLUMNS) + "|\n"


def best(record: dict[str, Any]) -> dict[str, float]:
    """The figures at the last checkpoint with the sampler and guidance weight of the least Frechet distance."""
    figures = record["checkpoints"][-1]["figures"].values()
    found: dict[str, float] = min(figures, key=lambda figure: figure["frechet_distance"])
    return found


def rows(record: dict[str, Any]) -> str:
    """One line for every checkpoint, sampler and guidance weight."""
    lines = []
    for point in record["checkpoints"]:
        for drawn, figures in point["figures"].items():
            cells = [record["name"], f"{record['lr']:g}", f"{point['cpu_seconds']:.0f}", point["steps"]]
            cells += [point["images_seen"], record["parameters"], drawn]
            cells += [f"{figures['frechet_distance']:.2f}", f"{100 * figures['class_accuracy']:.1f} %"]
            lines.append("| " + " | ".join(map(str, cells)) + " |\n")
    return "".join(lines)


def verdict(records: list[dict[str, Any]]) -> str:
    """Our distance beside the better peer's, and the CPU-seconds at which we passed its final figure."""
    finals = [record for record in records if not record["search"]]
    peers, ours = [r for r in finals if r["peer"]], [r for r in finals if not r["peer"]]
    if not peers:
        return "No peer has finished its whole budget yet.\n"
    better = min(peers, key=lambda record: best(record)["frechet_distance"])
    target = best(better)
    line = f"Better peer: {better['name']}, Frechet distance {target['frechet_distance']:.2f}, "
    line += f"class accuracy {100 * target['class_accuracy']:.1f} % there.\n"
    if not ours:
        return line
    distance = best(ours[-1])["frechet_distance"]
    line += f"Ours: {distance:.2f}, {distance / target['frechet_distance']:.2f} of it; "
    points = [point for point in ours[-1]["checkpoints"] if below(point, target["frechet_distance"])]
    if not points:
        return line + "its figure was not reached.\n"
    return line + f"below it at {points[0]['cpu_seconds']:.0f} CPU-seconds.\n"


def below(point: dict[str, Any], distance: float) -> bool:
    return any(figures["frechet_distance"] <= distance for figures in point["figures"].values())


def section(title: str, records: list[dict[str, Any]], judge: Judge) -> str:
    """A heading, the rows, and what as many real training images score."""
    if not records:
        return ""
    count = records[0]["samples"]
    real = judge.ceiling(count)
    text = f"## {title}, {count} samples\n\n{HEADER}" + "".join(map(rows, records))
    text += f"| {count} real training images | | | | | | | {real['frechet_distance']:.2f} | "
    return text + f"{100 * real['class_accuracy']:.1f} % |\n\n"


def report(records: list[dict[str, Any]], judge: Judge) -> str:
    """The whole page, in markdown."""
    searches = [record for record in records if record["search"]]
    finals = [record for record in records if not record["search"]]
    text = f"# MNIST, the same CPU-seconds\n\n{verdict(records)}\n"
    text += section("The whole budget", finals, judge)
    text += section("Learning rates at a fifth of the budget", searches, judge)
    text += f"The judge reads {100 * judge.test_accuracy:.2f} % of the 10,000 test digits.\n\n"
    choices = {record["name"]: f"{record['settings']}, {record['versions']}" for record in records}
    text += "".join(f"- {name}: {choice}\n" for name, choice in choices.items())
    text += f"\n{datetime.date.today()}, {processor()}, {platform.platform()}, one thread, "
    return text + f"Python {platform.python_version()}\n\n    python {' '.join(sys.argv)}\n"


def processor() -> str:
    """The processor's name, where the system tells it."""
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text().splitlines() if listing.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
