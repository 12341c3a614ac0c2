"""`log.jsonl`: one JSON object a line, append-only; a resumed run first drops the lines past its state."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from perrin.errors import PerrinError
from perrin.saving import cannot_write, write_text


class Log:
    """The log of a run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, **facts: Any) -> None:
        """Append one line."""
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(facts) + "\n")
        except OSError as error:
            raise PerrinError(cannot_write(self.path, error)) from error

    def read(self) -> list[dict[str, Any]]:
        """All lines; a last line that a kill cut short is left out."""
        if not self.path.is_file():
            return []
        lines = []
        for text in self.path.read_text(encoding="utf-8").splitlines():
            try:
                lines.append(json.loads(text))
            except ValueError:
                break
        return lines

    def rewind(self, step: int) -> None:
        """Drop what was logged after `step`."""
        kept = [line for line in self.read() if line["step"] <= step]
        write_text(self.path, "".join(json.dumps(line) + "\n" for line in kept))
