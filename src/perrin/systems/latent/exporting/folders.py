"""Folders that are whole or absent: written under another name beside their place, then renamed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from perrin.errors import PerrinError
from perrin.saving import PICKLES, cannot_write
from perrin.systems.latent.layout import INDEX

KNOWN = (INDEX, "model.json", "perrin.json")
"""A folder with one of these holds a model, and may be replaced when that is asked for."""


@contextmanager
def whole_folder(folder: Path, overwrite: bool) -> Iterator[Path]:
    """A new folder to write to; it becomes `folder` when the block ends well and is removed otherwise.

    Raises:
        PerrinError: something is there already and `overwrite` is not set, or it is no model; a full disk.
    """
    refuse_to_replace(folder, overwrite)
    part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    old = part.with_suffix(".old")
    try:
        part.mkdir(parents=True)
        yield part
        if folder.exists():
            folder.rename(old)
        part.rename(folder)
    except OSError as error:
        if old.exists() and not folder.exists():
            old.rename(folder)
        raise PerrinError(cannot_write(folder, error)) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)


def refuse_to_replace(folder: Path, overwrite: bool) -> None:
    """Refuse a place where something is, unless it is a model's folder and may be replaced.

    Raises:
        PerrinError: naming it.
    """
    if folder.is_file():
        raise PerrinError(f"{folder} is a file; choose a folder")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if (folder / "recipe.yaml").is_file():
        raise PerrinError(f"{folder} holds a run, which is not replaced; choose another folder")
    if not any((folder / name).is_file() for name in KNOWN):
        raise PerrinError(f"{folder} holds other files; choose an empty or new folder")
    if not overwrite:
        raise PerrinError(f"{folder} holds a model already; overwrite=True (--overwrite) replaces it")


def copied_folder(source: Path, target: Path) -> None:
    """A component as it is, without pickles."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(*(f"*{end}" for end in PICKLES)))
