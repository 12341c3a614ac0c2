"""One sample of a folder beside the same sample of the pipeline that wrote it."""

import sys

import torch
from PIL import Image

import perrin
from perrin.sample import make_plan, run
from perrin.sample.running import prior

STEPS = 4
PROMPTS, NEGATIVE = ["a red cube", "two green cones"], "blurry"
NOISE = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(3))
ALIKE = {"num_inference_steps": STEPS, "guidance_scale": 5.0, "output_type": "np"}


def ours(model, start, plan, guidance, **wanted):
    """Pictures [n, H, W, 3] in [0, 1] of noise [n, ...] at the plan's first level."""
    outline = model.codec.outline(len(start), 0, 0, **wanted)
    keys = [(0, i) for i in range(len(start))]
    denoiser = model.guided(guidance)
    if outline.steer is not None:
        denoiser = outline.steer(denoiser)
    state = run(plan, denoiser, seeds=keys, start=start, condition=outline.condition or None)
    return model.codec.images(state).movedim(1, -1).numpy()


def chain_plan(model, pipeline):
    """DDIM on the levels that the pipeline's scheduler visits."""
    pipeline.scheduler.set_timesteps(STEPS)
    if hasattr(pipeline.scheduler, "alphas_cumprod"):
        schedule = perrin.registry.schedules.build(model.design.parameterisation["schedule"])
        levels = schedule.level(pipeline.scheduler.timesteps.double())
    else:  # a flow
        sigma = pipeline.scheduler.sigmas.double()[:-1]
        levels = 2 * torch.log((1 - sigma) / sigma)
    return make_plan("ddim", grid=[*levels.tolist(), float("inf")])


def same_noise(monkeypatch, pipeline, shape=(4, 8, 8)):
    """Make a pipeline begin with the noise of our samples 0 and 1 of seed 0."""
    noise = prior([(0, 0), (0, 1)], shape, torch.float32, "cpu")
    monkeypatch.setattr(sys.modules[type(pipeline).__module__], "randn_tensor", lambda *_, **__: noise)


def means_of_latents(monkeypatch, pipeline):
    """Make a pipeline take the mean of the autoencoder's posterior, since its draw is another than ours."""
    module = sys.modules[type(pipeline).__module__]
    monkeypatch.setattr(module, "retrieve_latents", lambda output, **_: output.latent_dist.mode())


def pixels(samples):
    """Pictures [n, H, W, 3] in [0, 1]."""
    return samples.codec.images(samples.state).movedim(1, -1).numpy()


def picture(size=16, seed=0):
    """Random pixels."""
    values = torch.rand(size, size, 3, generator=torch.Generator().manual_seed(seed))
    return Image.fromarray((values * 255).to(torch.uint8).numpy())


def mask(size=16):
    """A hole in the upper right."""
    values = torch.zeros(size, size, dtype=torch.uint8)
    values[: size // 2, size // 4 :] = 255
    return Image.fromarray(values.numpy())
