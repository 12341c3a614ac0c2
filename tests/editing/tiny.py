"""Small models with random weights in folders, and damaged files for them."""

import numpy as np
import torch
from PIL import Image
from tests.model.making import image_model, make_model

from perrin.kinds.arrays import Arrays
from perrin.kinds.images import Images
from perrin.kinds.volumes import Volumes


def kept(model, folder):
    """The model in a folder, its weights so small that it is nearly the exact denoiser of Gaussian noise: never wild."""
    with torch.no_grad():
        for parameter in model.module.parameters():
            parameter.mul_(0.3)
    return model.save(folder)


NET = {"name": "unet", "channels": 8, "multipliers": [1, 2], "blocks": 1}


def pictures(folder):
    """8 x 8 grey pictures of ten classes, in a folder."""
    return kept(image_model(), folder / "pictures")


def larger(folder, side=24):
    """The same of another size, without classes."""
    return kept(
        make_model(NET, Images.codec((1, side, side), None, 0.75), "images", guidance=1.0), folder / "larger"
    )


def colours(folder):
    """8 x 8 colour pictures without classes."""
    codec = Images.codec((3, 8, 8), None, 0.75)
    return kept(make_model(NET, codec, "images", guidance=1.0), folder / "colours")


def signals(folder, length=16):
    """Signals of one channel, with standard deviation 2 about 1."""
    codec = Arrays.codec((1, length), None, 1.0, [1.0], [2.0])
    return kept(
        make_model({"name": "mlp", "width": 16, "blocks": 1}, codec, "arrays", guidance=1.0),
        folder / "signals",
    )


def scans(folder, path, **options):
    """A model of volumes like those at `path`; axial slices by default."""
    codec = Volumes.codec.fit(Volumes.open(path), **{"axis": "axial", **options})
    return kept(make_model(NET, codec, "volumes", guidance=1.0), folder / "scans")


def picture(path, *shape, seed=0, colour=False):
    """A picture of random pixels [H, W], and these."""
    pixels = np.random.default_rng(seed).integers(0, 256, (*shape, 3) if colour else shape, np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def hole(path, *shape, box=(2, 2, 5, 6)):
    """A black mask with a white box (top, left, bottom, right), and it as bools."""
    found = np.zeros(shape, bool)
    found[box[0] : box[2], box[1] : box[3]] = True
    Image.fromarray((found * 255).astype(np.uint8)).save(path)
    return found
