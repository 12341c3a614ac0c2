"""Small models with random weights that react to everything they are told."""

import torch

from perrin.design import Design, Sampling
from perrin.kinds.arrays import Arrays
from perrin.kinds.images import Images
from perrin.kinds.text import Text
from perrin.kinds.text.vocabularies import Characters
from perrin.model import Model

SCHEDULE = {"name": "edm", "sigma_min": 0.01, "sigma_max": 20.0}


def make_model(net, codec, kind, process=None, **sampling):
    """A model of a network with random weights."""
    shape = {"shape": list(codec.shape), "classes": len(codec.classes) if codec.classes else None}
    parameterisation = {"name": "edm" if process is None else "logits"}
    data = {"kind": kind, "config": codec.config()}
    design = Design({**net, **shape}, parameterisation, data, process=process)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        denoiser = design.denoiser()
        for parameter in denoiser.parameters():  # at its initialisation the output is zero
            parameter.add_(0.2 * torch.randn(parameter.shape))
    chosen = Sampling(**{"steps": 4, "schedule": SCHEDULE, "guidance": 2.0, **sampling})
    return Model(design, denoiser, codec, chosen, about={"name": "test"})


def image_model(**sampling):
    """8 x 8 grey images of ten classes, by a small U-Net."""
    codec = Images.codec((1, 8, 8), [str(i) for i in range(10)], 0.75)
    net = {"name": "unet", "channels": 8, "multipliers": [1, 2], "blocks": 1}
    return make_model(net, codec, "images", **sampling)


LETTERS = "\n abcdefgh"


def text_model(process="masked", context=12, classes=None, lengths=(12,), **sampling):
    """Texts of ten characters by a small transformer."""
    codec = Text.codec(context, classes, Characters(LETTERS), list(lengths))
    masked = process == "masked"
    net = {"name": "transformer", "width": 16, "blocks": 1, "heads": 2, "timed": not masked}
    net |= {"categories": codec.categories, "states": codec.categories + masked}
    chosen = {"solver": "ancestral", "steps": 6, "grid": "time", "schedule": {"name": "log_linear"}}
    noise = {"name": process, "classes": codec.categories}
    return make_model(net, codec, "text", noise, **{**chosen, "guidance": 1.0, **sampling})


def point_model(**sampling):
    """Points without classes, by a small MLP."""
    codec = Arrays.codec((2,), None, 1.0, [0.0, 0.0], [1.0, 1.0])
    return make_model(
        {"name": "mlp", "width": 16, "blocks": 1}, codec, "arrays", **{"guidance": 1.0, **sampling}
    )
