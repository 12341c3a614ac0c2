"""Values that a model made of a given scan, back in the scan's own geometry, orientation and photometric sense."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from perrin.errors import PerrinError
from perrin.kinds.volumes import geometry
from perrin.kinds.volumes.geometry import Axis
from perrin.kinds.volumes.patching import joined_patches
from perrin.kinds.volumes.views import View
from perrin.kinds.volumes.volume import Volume, turned_round


def back_in(original: Volume, values: np.ndarray, axis: Axis | None = None) -> Volume:
    """Values that lie as `original.standard(axis)` does, or as it does itself where it is a single slice.

    Raises:
        PerrinError: values of another size, since the original was resized on the way.
    """
    lying = original if original.flat else original.standard(axis or "axial")
    if lying.shape != values.shape:
        raise PerrinError(
            f"a volume of {lying.shape} was resized to states of {values.shape}; fit the codec without size and spacing to "
            "write into its own geometry"
        )
    if not original.flat:
        of_plane = geometry.undone(*geometry.PLANES[axis or "axial"])
        of_body = geometry.undone(*geometry.to_standard(original.affine))
        values = replace(lying, values=values).turned(*of_plane).turned(*of_body).values
    if original.photometric == "MONOCHROME1":
        values = turned_round(values, original.stored)
    return replace(original, values=np.ascontiguousarray(values))


def assembled(original: Volume, values: np.ndarray, view: View) -> Volume:
    """The values [N, C, d, h, w] of all pieces of a volume, in the order in which it is cut, put together.

    Overlapping patches and slabs of neighbours are blended smoothly; see `patching`. Where the view has a spacing of its
    own the volume is in it, and else in the geometry of the original.

    Raises:
        PerrinError: as many values as the volume has no pieces, or pieces that were resized.
    """
    turned, grid = view.seen(original)
    places = view.places(original, "the volume")
    if len(values) != len(places) or values.shape[2:] != places[0][1]:
        raise PerrinError(
            f"{len(values)} states of {values.shape[2:]} for a volume of {len(places)} pieces of {places[0][1]}; give the "
            "states of all its pieces, of a codec without size"
        )
    begins = [begin for begin, _ in places]
    whole = joined_patches(torch.from_numpy(values), begins, grid.counts).numpy()
    if all(step == 1.0 for step in grid.steps):
        return back_in(original, whole[:, 0] if original.flat else whole, view.axis)
    affine = geometry.stepped(turned.affine, grid.starts, grid.steps)
    made = replace(turned, values=whole[:, 0] if original.flat else whole, affine=affine)
    return (
        replace(made, values=turned_round(made.values, made.stored))
        if made.photometric == "MONOCHROME1"
        else made
    )
