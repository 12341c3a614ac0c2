"""Files of prompts: one a line, and after it what holds for that line alone.

# comments and empty lines are skipped
a red cube --negative blurry, dark --guidance 7 --steps 30 --solver unipc_2 --seed 5
a (blue:1.2) ball, "glass"
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from perrin.errors import PerrinError
from perrin.registry import unknown

FLAGS: dict[str, tuple[Callable[[str], Any], str]] = {
    "negative": (str, "a text"),
    "guidance": (float, "a number"),
    "steps": (int, "a whole number"),
    "solver": (str, "a solver"),
    "seed": (int, "a whole number"),
    "strength": (float, "a number"),
}
"""What a line may say for itself: how it is read, and what it is."""

_FLAG = re.compile(r"(?:^|\s)--(?=[A-Za-z])")


@dataclass(frozen=True)
class Line:
    """A prompt, and the flags after it by name; `number` is that of the line in its file, from 1."""

    number: int
    prompt: str
    flags: dict[str, Any] = field(default_factory=dict)


def read(path: Path) -> list[Line]:
    """The prompts of a file.

    Raises:
        PerrinError: no such file, none in it, or a line that cannot be read, by its number.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise PerrinError(f"cannot read the prompts {path}: {error}") from error
    found = []
    for number, text in enumerate(lines, 1):
        if text.strip() and not text.lstrip().startswith("#"):
            try:
                found.append(line(text, number))
            except PerrinError as error:
                raise of_line(path, number, error) from error
    if not found:
        raise PerrinError(f"{path} holds no prompts: write one a line")
    return found


def of_line(path: Path, number: int, error: PerrinError) -> PerrinError:
    """The error of a line."""
    return PerrinError(f"{path}, line {number}: {error}")


def line(text: str, number: int = 1) -> Line:
    """One line; a flag's value is what follows it, to the next one.

    Raises:
        PerrinError: no prompt, an unknown flag, one twice, or a value that is none.
    """
    prompt, *parts = _FLAG.split(text.strip())
    if not prompt.strip():
        raise PerrinError("the prompt is empty; say what the picture shows")
    flags: dict[str, Any] = {}
    for part in parts:
        name, _, value = re.sub(r"^([\w-]+)=", r"\1 ", part).partition(" ")
        if name not in FLAGS:
            raise unknown("flag", f"--{name}", [f"--{flag}" for flag in FLAGS])
        if name in flags:
            raise PerrinError(f"--{name} is given twice")
        flags[name] = _value(name, _unquoted(value.strip()))
    return Line(number, prompt.strip(), flags)


def _value(name: str, text: str) -> Any:
    read_as, what = FLAGS[name]
    try:
        value = read_as(text)
        if not text or (isinstance(value, float) and not math.isfinite(value)):
            raise ValueError
        return value
    except ValueError as error:
        raise PerrinError(f"--{name} {text!r}: write {what}") from error


def _unquoted(text: str) -> str:
    """Without the quotes that a shell would have taken away."""
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" and text[0] not in text[1:-1]
    return text[1:-1] if quoted else text
