"""A recording (WAV, FLAC, ...) for a model of signals of one length."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from perrin.editing.numerals import Numbers
from perrin.editing.writing import save_array
from perrin.errors import PerrinError
from perrin.kinds.provenance import write_sidecar
from perrin.saving import replacing

SUFFIXES = (".wav", ".flac", ".ogg", ".aiff", ".aif")


@dataclass(frozen=True, eq=False)
class Sound(Numbers):
    """A form (`form.Form`) of samples between -1 and 1 at `rate` a second."""

    rate: int = 8000

    def write(self, name: str, values: Tensor, folder: Path, made: Mapping[str, Any]) -> list[Path]:
        """NAME.wav of 16 bits; deviations and bounds as .npy."""
        if name in ("std", "low", "high"):
            return [save_array(values[0] / self.scale, folder / f"{name}.npy", made)]
        import soundfile  # type: ignore[import-untyped, unused-ignore]

        path = folder / f"{name}.wav"
        samples = (values[0].reshape(-1, values.shape[-1]).T / self.scale).clamp(-1, 1).numpy()
        with replacing(path) as part, part.open("wb") as out:
            soundfile.write(out, samples, self.rate, format="WAV", subtype="PCM_16")
        return [path, write_sidecar(path, made)]


def open_sound(path: Path, shape: tuple[int, ...]) -> Sound:
    """The recording of a file.

    Raises:
        PerrinError: soundfile is not installed, no recording, or more channels than the model has.
    """
    if find_spec("soundfile") is None:
        raise PerrinError(f"recordings such as '{path.name}' need soundfile: pip install 'perrin[audio]'")
    import soundfile  # type: ignore[import-untyped, unused-ignore]

    try:
        samples, rate = soundfile.read(path, dtype="float64", always_2d=True)
    except (soundfile.SoundFileError, OSError) as error:
        raise PerrinError(f"cannot read '{path.name}' as a recording: {error}") from error
    array = np.ascontiguousarray(samples.T)
    return Sound(array[0] if len(array) == 1 else array, path.name, shape, rate=int(rate))
