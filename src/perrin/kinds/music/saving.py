"""Tunes on their way out: ABC, MIDI, sound and pictures, each with how it was made."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL.Image import open as open_image
from scipy.io import wavfile

from perrin.errors import PerrinError
from perrin.kinds.files import item_file, numbers
from perrin.kinds.labels import class_name
from perrin.kinds.music.notation import split_tunes
from perrin.kinds.music.reading import Reading, read_tune
from perrin.kinds.music.roll import piano_rolls
from perrin.kinds.music.sound import midi_bytes, wav_bytes
from perrin.kinds.provenance import png_text, write_sidecar
from perrin.saving import replacing, write_text

_HEAD = re.compile(r"(?m)^X:.*\nT:.*")


def save_tunes(
    decoded: Sequence[str],
    path: Path,
    provenance: Sequence[Mapping[str, Any]],
    classes: Sequence[str] | None = None,
) -> list[Path]:
    """Write tunes with their provenance.

    Args:
        path: `.abc`: a book of all tunes, numbered, with `NAME.abc.json` beside; `.png`: the piano rolls of all;
            `.mid` and `.wav`: one tune. Any other name is a folder for an `.abc`, `.mid`, `.wav` and `.png` of each
            tune, where one that cannot be read has its `.abc` alone.
        provenance: one each; `index` in it is the number in the file's name, `label` (an index or a name) the class.

    Returns:
        The files.

    Raises:
        PerrinError: another suffix, several tunes for one sound, a tune that cannot be read where it must be, or a
            file that cannot be written.
    """
    if len(decoded) != len(provenance):
        raise ValueError(f"{len(decoded)} tunes with {len(provenance)} provenances")
    suffix = "" if path.is_dir() else path.suffix.lower()
    made = dict(provenance[0]) if len(decoded) == 1 else {"items": [dict(one) for one in provenance]}
    if suffix == "":
        return [
            file
            for number in range(len(decoded))
            for file in _folder(decoded, number, path, provenance, classes)
        ]
    if suffix == ".abc":
        write_text(path, "\n".join(numbered(tune, 1 + i) for i, tune in enumerate(decoded)))
        return [path, write_sidecar(path, made)]
    if suffix == ".png":
        return [_picture(decoded, path, made)]
    if suffix not in (".mid", ".wav"):
        raise PerrinError(f"tunes are saved as .abc, .mid, .wav or .png, or into a folder, not '{path}'")
    if len(decoded) != 1:
        raise PerrinError(f"'{path}' holds one tune, and these are {len(decoded):,}; write a folder's name")
    return _sound(read_tune(decoded[0]), path, made)


def numbered(tune: str, number: int) -> str:
    """A tune with its number in a book as its title."""
    return _HEAD.sub(f"X:{number}\nT:Tune {number}", tune, count=1)


def _folder(
    decoded: Sequence[str],
    number: int,
    path: Path,
    provenance: Sequence[Mapping[str, Any]],
    classes: Sequence[str] | None,
) -> list[Path]:
    made, tune = dict(provenance[number]), decoded[number]
    index = numbers(provenance)[number]
    file = path / item_file(index, class_name(made.get("label"), classes), ".abc")
    write_text(file, numbered(tune, index + 1))
    written = [file, write_sidecar(file, made)]
    try:
        reading = read_tune(tune)
    except PerrinError:
        return written
    for suffix in (".mid", ".wav"):
        written += _sound(reading, file.with_suffix(suffix), made)
    return [*written, _picture([tune], file.with_suffix(".png"), made)]


def _sound(reading: Reading, path: Path, made: Mapping[str, Any]) -> list[Path]:
    content = wav_bytes(reading) if path.suffix.lower() == ".wav" else midi_bytes(reading)
    with replacing(path) as part:
        part.write_bytes(content)
    return [path, write_sidecar(path, made)]


def _picture(tunes: Sequence[str], path: Path, made: Mapping[str, Any]) -> Path:
    picture = piano_rolls(tunes)
    if picture is None:
        raise PerrinError(f"none of these {len(tunes):,} tunes can be read, so '{path}' has nothing to show")
    with replacing(path) as part:
        picture.save(part, format="PNG", pnginfo=png_text(made))
    return path


def read_saved(path: Path) -> np.ndarray:
    """Code points of the tunes of an `.abc` file without their numbers and titles, samples of a `.wav`, pixels of a
    `.png`, bytes of a `.mid`."""
    suffix = path.suffix.lower()
    if suffix == ".png":
        with open_image(path) as image:
            return np.asarray(image)
    if suffix == ".wav":
        return np.asarray(wavfile.read(io.BytesIO(path.read_bytes()))[1])
    if suffix == ".mid":
        return np.frombuffer(path.read_bytes(), np.uint8)
    tunes = split_tunes(path.read_text(encoding="utf-8"))
    text = "\n".join(_HEAD.sub("", tune).strip() for tune in tunes)
    return np.frombuffer(text.encode("utf-32-le"), "<u4")
