"""Files that are whole or absent: written under another name, then renamed; weights in safetensors, never pickles."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from perrin.errors import PerrinError

PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle", ".joblib")
"""Endings of files that run code when they are loaded."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary neighbour to write to; it becomes `path` when the block ends well and is removed otherwise.

    Raises:
        PerrinError: for any OSError (a full disk, a folder that cannot be written), naming the file.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        with part.open("rb+") as file:  # on disk before it is renamed, or a power cut leaves an empty file
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        raise PerrinError(cannot_write(path, error)) from error
    finally:
        with suppress(OSError):  # its folder may not exist: nothing was written
            part.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that a kill at any moment leaves the old one or the new one.

    Raises:
        PerrinError: the disk is full, or the folder cannot be written to.
    """
    with replacing(path) as part:
        part.write_bytes(content)


def cache_folder(*parts: str) -> Path:
    """Where derived files are: `$PERRIN_CACHE`, else `$XDG_CACHE_HOME/perrin`, else `~/.cache/perrin`."""
    own = os.environ.get("PERRIN_CACHE")
    base = Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "perrin"
    return base.joinpath(*parts)


def cannot_write(path: Path, error: OSError) -> str:
    """The line for a file that could not be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full: {path} was not written; make room and run again"
    return f"cannot write {path}: {error.strerror or error}"


def write_text(path: Path, text: str) -> None:
    """`write_bytes` of a text in UTF-8."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, data: Any) -> None:
    """`write_text` of JSON; NaN is refused, as no other reader would take it."""
    write_text(path, json.dumps(data, indent=1, allow_nan=False) + "\n")


def read_json(path: Path, what: str) -> dict[str, Any]:
    """A JSON object.

    Raises:
        PerrinError: no such file, or not a JSON object.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PerrinError(f"cannot read {what} {path}: {error.strerror}") from error
    except ValueError as error:
        raise PerrinError(f"{what} {path} is damaged: {error}") from error
    if not isinstance(data, dict):
        raise PerrinError(f"{what} {path} is not a JSON object")
    return data


def save_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors as safetensors; `metadata` (how they were made) goes into the header."""
    from safetensors.torch import save

    contiguous = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    write_bytes(path, save(contiguous, metadata={"format": "pt", **(metadata or {})}))


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file.

    Raises:
        PerrinError: no such file, a file cut short, or one that is no safetensors at all.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise PerrinError(f"no file {path}")
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise PerrinError(
            f"{path} is cut short or damaged ({error}); copy it again or train again"
        ) from error


def refuse_pickles(folder: Path) -> None:
    """Refuse a model folder with a pickle in it: loading one runs whatever code it holds.

    Raises:
        PerrinError: naming the first such file.
    """
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in PICKLES:
            raise PerrinError(
                f"{path} may be a pickle, which runs code when it is loaded; Perrin loads safetensors only: "
                "remove it or convert it"
            )


def load_weights(net: nn.Module, path: Path) -> None:
    """Put the weights of a file into a network.

    Raises:
        PerrinError: a damaged file, or weights of another network.
    """
    found, wanted = load_tensors(path), net.state_dict()
    for name, value in wanted.items():
        if name not in found or found[name].shape != value.shape:
            what = "lacks" if name not in found else f"has shape {tuple(found[name].shape)} for"
            raise PerrinError(
                f"{path} {what} {name!r} {tuple(value.shape)}: these are the weights of another network"
            )
    net.load_state_dict({name: found[name].to(value.dtype) for name, value in wanted.items()})


def weights_hash(weights: Mapping[str, Tensor]) -> str:
    """12 hexadecimal digits that name the weights as they are once loaded: half precision counts as its float32."""
    digest = hashlib.sha256()
    for name, value in sorted(weights.items()):
        digest.update(name.encode())
        value = value.detach().cpu()
        value = value.float() if value.is_floating_point() else value
        digest.update(value.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:12]
