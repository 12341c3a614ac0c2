"""`perrin doctor`: what this machine has, what is missing and how to get it, and whether torch computes."""

from __future__ import annotations

from typing import Any

from perrin.cli.common import Json, emit


def command(as_json: Json = False) -> None:
    """Show versions, threads, accelerators, memory, disk and extras, and time one convolution step.

    Example:
      perrin doctor
    """
    from perrin.cli.examination import examine

    facts = examine()
    if as_json:
        emit(facts)
        return
    for name, value in _flat(facts):
        print(f"{name:<32} {value}")


def _flat(facts: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    from perrin.cli.listing import cell

    rows: list[tuple[str, str]] = []
    for name, value in facts.items():
        label = f"{prefix}{name.replace('_', ' ')}"
        if isinstance(value, dict):
            rows += _flat(value, f"{label}: ")
        elif isinstance(value, list):
            rows.append((label, ", ".join(value) or "none"))
        else:
            rows.append((label, cell(value)))
    return rows
