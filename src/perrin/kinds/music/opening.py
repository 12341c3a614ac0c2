"""A path to a dataset of tunes: an ABC file, or a folder of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from perrin.errors import PerrinError
from perrin.kinds.labels import index_labels
from perrin.kinds.music.layout import write_tune
from perrin.kinds.music.notation import read_pieces, split_tunes
from perrin.kinds.text.documents import TextsInMemory
from perrin.kinds.text.opening import Broken, surveyed
from perrin.kinds.text.tail import TextSelection
from perrin.registry import unknown

Label = Literal["metre", "key", "none"]
_TITLE = re.compile(r"(?m)^T:\s*(.*?)\s*$")
_NUMBER = re.compile(r"X:\s*(\d*)")


class Tunes(TextsInMemory):
    """The tunes of some files, named by file, number and title: read into one spelling when they are asked for."""

    def read(self, index: int) -> str:
        """The tune as `layout.write_tune` writes it."""
        return write_tune(read_pieces(self.texts[index], f"'{self.names[index]}'"))


def open_music(path: str | Path, *, label: Label = "metre", broken: Broken = "refuse") -> TextSelection:
    """Open tunes by their path; each is read once to see that it is one.

    Args:
        path: an `.abc` file, or a folder with such files in it or below.
        label: what the classes are: "metre", "key" or "none".
        broken: what to do about tunes that cannot be read: "refuse" lists them, "skip" leaves them out and lists
            them in `skipped`.

    Raises:
        PerrinError: nothing there, no tunes, another encoding than UTF-8, broken tunes.
    """
    path = Path(path)
    if label not in get_args(Label):
        raise unknown("label", label, get_args(Label))
    if broken not in get_args(Broken):
        raise unknown("broken", broken, get_args(Broken))
    texts, names = list[str](), list[str]()
    for file in _files(path):
        for tune in split_tunes(_text(file)):
            number = _NUMBER.match(tune)
            texts.append(tune)
            title = _TITLE.search(tune)
            names.append(f"{file.name} X:{number[1] if number else ''} {title[1] if title else ''}".strip())
    if not texts:
        raise PerrinError(f"no tune in '{path}'; each begins with a line such as X:1")
    labels, classes = _labels(texts, label)
    source = Tunes(texts, names, labels, classes)
    return surveyed(source, path, broken, {"kind": "music", "path": str(path), "label": label})


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise PerrinError(f"no file or folder '{path}'; tunes are an .abc file or a folder of them")
    files = sorted(path.rglob("*.abc")) if path.is_dir() else [path]
    if not files or not all(file.suffix.lower() == ".abc" for file in files):
        raise PerrinError(f"'{path}' is no .abc file and no folder with one in it")
    return files


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PerrinError(f"cannot read '{file}' as UTF-8: {error}") from error


def _labels(texts: list[str], label: Label) -> tuple[np.ndarray | None, list[str] | None]:
    """The first metre or key of each tune; none of a tune that is broken."""
    if label == "none":
        return None, None
    raw = list[str | None]()
    for text in texts:
        try:
            raw.append(read_pieces(text)[("metre", "key").index(label)][2:])
        except PerrinError:
            raw.append(None)
    return index_labels(raw, "labels of the tunes")
