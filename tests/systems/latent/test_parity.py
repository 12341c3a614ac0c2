"""A pretrained folder gives the picture of the pipeline that wrote it, at the same noise, levels and guidance."""

import numpy as np
import pytest
import torch
from tests.systems.latent.comparing import NEGATIVE, NOISE, PROMPTS, STEPS, chain_plan, ours

import perrin
from perrin.process.state import single


@pytest.mark.parametrize("name", ["stable_diffusion", "stable_diffusion_v", "stable_diffusion_xl"])
@pytest.mark.parametrize("negative", [None, NEGATIVE])
def test_text_to_image(saved, name, negative):
    pipeline, folder = saved(name)
    model = perrin.load(folder)
    other = None if negative is None else [negative] * 2
    expected = pipeline(
        PROMPTS, negative_prompt=other, latents=NOISE, num_inference_steps=STEPS, guidance_scale=5.0,
        height=16, width=16, output_type="np",
    ).images  # fmt: skip
    plan = chain_plan(model, pipeline)
    found = ours(model, NOISE, plan, 5.0, prompt=PROMPTS, negative=negative)
    assert np.abs(found - expected).max() < 1e-3
    assert np.abs(found[0] - found[1]).max() > 0.05


def test_flow_of_texts(saved):
    pipeline, folder = saved("stable_diffusion_3")
    model = perrin.load(folder)
    expected = pipeline(
        PROMPTS, negative_prompt=[NEGATIVE] * 2, latents=NOISE, num_inference_steps=STEPS, guidance_scale=5.0,
        height=16, width=16, output_type="np",
    ).images  # fmt: skip
    found = ours(model, NOISE, chain_plan(model, pipeline), 5.0, prompt=PROMPTS, negative=NEGATIVE)
    assert np.abs(found - expected).max() < 1e-3


def test_classes(saved):
    pipeline, folder = saved("dit")
    model = perrin.load(folder)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        start = torch.randn(2, 4, 8, 8)
    expected = pipeline(
        [3, 7],
        num_inference_steps=STEPS,
        guidance_scale=4.0,
        output_type="np",
        generator=torch.manual_seed(0),
    ).images
    found = ours(model, start, chain_plan(model, pipeline), 4.0, label=["3", 7])
    assert np.abs(found - expected).max() < 1e-3


def test_masked_tokens_of_texts(saved):
    pipeline, folder = saved("pixart")
    model = perrin.load(folder)
    expected = pipeline(
        PROMPTS, negative_prompt=NEGATIVE, latents=NOISE, num_inference_steps=STEPS, guidance_scale=4.5, height=16,
        width=16, output_type="np", clean_caption=False, use_resolution_binning=False,
    ).images  # fmt: skip
    found = ours(model, NOISE, chain_plan(model, pipeline), 4.5, prompt=PROMPTS, negative=NEGATIVE)
    assert np.abs(found - expected).max() < 1e-3


def test_images_without_a_condition(saved):
    """The chain's own draws, clipped as the pipeline clips: the mean of each step, since the noise is another."""
    pipeline, folder = saved("ddpm")
    model = perrin.load(folder)
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    step, schedule = 700, perrin.registry.schedules.build(model.design.parameterisation["schedule"])
    with torch.no_grad():
        output = pipeline.unet(x, step).sample
        found = model.guided()(x, schedule.level(torch.full((2,), float(step))))
    expected = pipeline.scheduler.step(output, step, x, generator=torch.manual_seed(0)).pred_original_sample
    assert float((single(found.mean) - expected).abs().max()) < 1e-3
    drawn = model.sample(2, steps=3, trace=True)
    assert drawn.decoded[0].shape == (8, 8, 3)
    assert max(float(mean.abs().max()) for mean in drawn.means) == 1.0
