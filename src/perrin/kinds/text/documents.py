"""Where documents are read from: a plain file or parts of it, a folder of files; for tables see `table_rows`.

Each is a `selection.Source` whose items are `str`, read when they are asked for; what is kept in memory of a file is
where its documents begin.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from perrin.errors import PerrinError
from perrin.kinds.labels import Labels, index_labels
from perrin.kinds.text.utf8 import MARK, decoded, unix


@dataclass(frozen=True)
class TextParts:
    """Parts of one plain file: the whole of it, or what stands between separators."""

    path: Path
    content: bytes | mmap.mmap
    starts: np.ndarray
    stops: np.ndarray
    labels: np.ndarray | None = None
    classes: list[str] | None = None

    def __len__(self) -> int:
        return len(self.starts)

    def name(self, index: int) -> str:
        """The file, and which part of it, counted from 1."""
        return self.path.name if len(self) == 1 else f"{self.path.name} part {index + 1}"

    def read(self, index: int) -> str:
        """The part's text."""
        return decoded(self.content[self.starts[index] : self.stops[index]], f"'{self.name(index)}'")


def text_parts(path: Path, separator: str | None) -> TextParts:
    """One document, or those between separators; parts without any text are none.

    Raises:
        PerrinError: another encoding than UTF-8, or no text at all.
    """
    content = mapped(path)
    decoded(content[:], f"'{path}'")
    starts, stops = [0], [len(content)]
    if separator is not None:
        if not separator:
            raise PerrinError('separator is empty; write what stands between documents, such as "\\n\\n\\n"')
        # a file with \r\n is separated by what its user sees
        pattern = rb"\r?\n".join(re.escape(part) for part in unix(separator).encode().split(b"\n"))
        found = list(re.finditer(pattern, content))
        starts += [match.end() for match in found]
        stops = [*(match.start() for match in found), len(content)]
    kept = [i for i in range(len(starts)) if bytes(content[starts[i] : stops[i]]).removeprefix(MARK).strip()]
    if not kept:
        raise PerrinError(f"'{path}' holds no text")
    return TextParts(path, content, np.array(starts)[kept], np.array(stops)[kept])


@dataclass(frozen=True)
class TextsInMemory:
    """Texts that are held in memory, each with its name: a `selection.Source`."""

    texts: Sequence[str]
    names: Sequence[str]
    labels: np.ndarray | None
    classes: list[str] | None

    def __len__(self) -> int:
        return len(self.texts)

    def name(self, index: int) -> str:
        """As it was given."""
        return self.names[index]

    def read(self, index: int) -> str:
        """The text."""
        return self.texts[index]


@dataclass(frozen=True)
class TextFiles:
    """The `.txt` files of a folder, named by their path below it; sub-folders are classes."""

    root: Path
    files: Sequence[Path]
    labels: np.ndarray | None
    classes: list[str] | None

    def __len__(self) -> int:
        return len(self.files)

    def name(self, index: int) -> str:
        """Path below the folder, with forward slashes."""
        return self.files[index].relative_to(self.root).as_posix()

    def read(self, index: int) -> str:
        """The file's text."""
        return decoded(read_bytes(self.files[index]), f"'{self.name(index)}'")


def text_files(root: Path, labels: bool) -> TextFiles:
    """List a folder; files beside and inside sub-folders at once have no classes.

    Raises:
        PerrinError: no `.txt` file in it.
    """
    files = sorted(
        file
        for file in root.rglob("*.txt")
        if not any(part[0] == "." for part in file.relative_to(root).parts)
    )
    if not files:
        held = sum(1 for file in root.rglob("*") if file.is_file())
        raise PerrinError(f"no .txt file in folder '{root}', which holds {held:,} other files")
    inside = [parts[0] for parts in (file.relative_to(root).parts for file in files) if len(parts) > 1]
    if labels and inside and len(inside) < len(files):
        raise PerrinError(
            f"'{root}' holds {len(files) - len(inside):,} texts beside its sub-folders and {len(inside):,} inside "
            "them; move them into classes, or write labels: false"
        )
    return TextFiles(root, files, *(index_labels(inside, "sub-folders") if labels else Labels(None, None)))


def mapped(path: Path) -> bytes | mmap.mmap:
    """The bytes of a file, memory-mapped; an empty one cannot be and is refused."""
    try:
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except ValueError as error:
        raise PerrinError(f"'{path}' is empty: no text") from error
    except OSError as error:
        raise PerrinError(f"cannot read '{path}': {error.strerror or error}") from error


def read_bytes(path: Path) -> bytes:
    """The content of a file."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise PerrinError(f"cannot read '{path}': {error.strerror or error}") from error
