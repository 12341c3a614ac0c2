"""`load`: the model of a folder or a Hub id. It needs nothing of training, which takes a while to import."""

from __future__ import annotations

from pathlib import Path

import torch

from perrin.errors import PerrinError
from perrin.model import Model
from perrin.systems.latent.layout import is_layout

RUNS = Path("runs")
"""Where runs lie by default."""


def load(
    path_or_id: str | Path,
    *,
    device: str | torch.device = "cpu",
    dtype: str | torch.dtype | None = None,
    offload: str | None = None,
) -> Model:
    """Load a model.

    Args:
        path_or_id: a run folder, a model folder, a folder in the layout of diffusers, a Hub id such as "someone/digits"; a
            name alone, such as "digits", is also that of the run `runs/digits`, where `train` writes by default.
        device: where the network goes.
        dtype, offload: of folders in the layout of diffusers: the precision, and what of the weights is kept off the
            device until it is used, "none", "parts" or "layers"; by default what fits, see `load_pretrained`.

    Raises:
        PerrinError: no such model, a damaged one, or one with a pickle in it.

    Example:
        >>> import perrin
        >>> perrin.load("no-such-model")
        Traceback (most recent call last):
        ...
        perrin.errors.PerrinError: no model at 'no-such-model': no such folder
    """
    path = place_of(path_or_id)
    if path.is_dir() and is_layout(path):
        from perrin.systems.latent.opening import load_pretrained

        model = load_pretrained(path, device, dtype, offload)
        if not Path(path_or_id).is_dir():  # the folder in the cache has a number for a name
            model.about["name"] = str(path_or_id)
        return model
    if not (path / "model.json").is_file():
        from perrin.systems.latent.strangers import refusal

        raise refusal(path)
    if dtype is not None or offload is not None:
        raise PerrinError(
            f"dtype and offload are for folders in the layout of diffusers, which {path} is not"
        )
    return Model.load(path, device)


def place_of(path_or_id: str | Path) -> Path:
    """Where a model is: here, among the runs, or fetched from the Hub."""
    path = Path(path_or_id)
    if path.exists():
        return path
    if len(path.parts) == 1 and (RUNS / path).is_dir():
        return RUNS / path
    from perrin import hub

    # "runs/digits" beside an existing folder "runs" is a path with a slip in it, not the name of a model far away
    if hub.is_id(str(path_or_id)) and not path.parent.is_dir():
        return hub.download(str(path_or_id))
    raise PerrinError(f"no model at {str(path_or_id)!r}: no such folder")
