"""How samples came about, as pictures that move: for every kind whose codec draws pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from perrin.contracts import Codec
from perrin.errors import PerrinError
from perrin.kinds.provenance import dumps
from perrin.saving import replacing


def save_pictures(
    codec: Codec, states: Sequence[Tensor], path: Path, provenance: Sequence[Mapping[str, Any]]
) -> Path:
    """Write states [B, *shape], in the order in which they came about, as an animated GIF of their pictures.

    Raises:
        PerrinError: data without pictures, or another suffix.
    """
    frames = [picture for state in states if (picture := codec.picture(codec.decode(state))) is not None]
    if not frames:
        raise PerrinError(f"these data have no pictures, so there is no trajectory to write to {path}")
    return save_animation(frames, path, {"items": [dict(made) for made in provenance]})


def save_animation(
    frames: Sequence[Image.Image],
    path: str | Path,
    provenance: Mapping[str, Any] | None = None,
    seconds: float = 0.1,
    hold: float = 1.5,
) -> Path:
    """Write frames (grids of one size) as an endless animated GIF, its provenance in the comment.

    Args:
        seconds: time of a frame.
        hold: time of the last frame, in seconds.
    """
    path = Path(path)
    if not frames:
        raise PerrinError(f"no frames for the animation '{path}'")
    if path.suffix.lower() != ".gif":
        raise PerrinError(f"animations are saved as .gif, not '{path}'")
    durations = [round(1000 * seconds)] * (len(frames) - 1) + [round(1000 * hold)]
    comment = dumps(provenance or {}).encode()  # ASCII: a GIF comment has no other encoding
    with replacing(path) as part:
        frames[0].save(
            part,
            format="GIF",
            save_all=True,
            append_images=list(frames[1:]),
            duration=durations,
            loop=0,
            comment=comment,
            disposal=1,
        )
    return path
