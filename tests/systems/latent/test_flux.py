"""FLUX folders give the pictures of their pipelines: both guidances, pictures to begin at, holes, sizes."""

import math

import numpy as np
import pytest
import torch
from tests.systems.latent import making_flows
from tests.systems.latent.comparing import (
    NEGATIVE,
    PROMPTS,
    mask,
    means_of_latents,
    picture,
    pixels,
    same_noise,
)

import perrin
from perrin.cli.entry import main
from perrin.errors import PerrinError
from perrin.sample.running import prior
from perrin.systems.latent.families.flux import packed, unpacked

SHAPE = (16, 8, 8)
SIZE = {"height": 16, "width": 16}
THEIRS = {**SIZE, "num_inference_steps": 4, "output_type": "np", "max_sequence_length": 512}


def their_noise(high=8, wide=8):
    """The noise of our samples 0 and 1 of seed 0, as the pipeline takes it."""
    return packed(prior([(0, 0), (0, 1)], (16, high, wide), torch.float32, "cpu"))


def test_tokens_are_the_pipelines_and_go_back(saved):
    x = torch.randn(2, 3, 4, 6)
    assert torch.equal(packed(x), saved("flux")[0]._pack_latents(x, 2, 3, 4, 6))
    assert torch.equal(unpacked(packed(x), 2, 3), x)


@pytest.mark.parametrize("size", [(16, 16), (24, 16)])
def test_guidance_is_the_scale_that_the_network_is_told(saved, size):
    pipeline, folder = saved("flux")
    high, wide = size
    asked = {**THEIRS, "height": high, "width": wide}
    expected = pipeline(
        PROMPTS, latents=their_noise(high // 2, wide // 2), guidance_scale=4.0, **asked
    ).images
    told = {"prompt": PROMPTS, "steps": 4, "height": high, "width": wide}
    model = perrin.load(folder)
    found = model.sample(2, **told, guidance=4.0)
    assert np.abs(pixels(found) - expected).max() < 1e-3
    assert np.abs(pixels(model.sample(2, **told, guidance=[4.0, 1.0])) - expected)[1].max() > 0.01
    assert np.abs(expected[0] - expected[1]).max() > 0.05
    usual = pipeline(PROMPTS, latents=their_noise(high // 2, wide // 2), **asked).images
    assert np.abs(pixels(model.sample(2, **told)) - usual).max() < 1e-3


@pytest.mark.parametrize(("name", "scale"), [("flux", 2.0), ("flux_schnell", None)])
def test_true_guidance_is_away_from_a_negative_prompt(saved, name, scale):
    pipeline, folder = saved(name)
    length = 512 if scale else 256
    expected = pipeline(
        PROMPTS, negative_prompt=[NEGATIVE] * 2, true_cfg_scale=3.0, latents=their_noise(), guidance_scale=scale or 3.5,
        **{**THEIRS, "max_sequence_length": length},
    ).images  # fmt: skip
    model, told = perrin.load(folder), {"prompt": PROMPTS, "steps": 4, "guidance": scale, **SIZE}
    found = model.sample(2, negative=NEGATIVE, true_guidance=3.0, **told)
    assert np.abs(pixels(found) - expected).max() < 1e-3
    assert np.abs(pixels(model.sample(2, **told)) - expected).max() > 0.02


def test_a_network_without_a_scale(saved):
    pipeline, folder = saved("flux_schnell")
    asked = {**THEIRS, "max_sequence_length": 256}
    expected = pipeline(PROMPTS, latents=their_noise(), **asked).images
    model = perrin.load(folder)
    assert model.sampling.steps == 4
    for none in (None, 1.0, 0.0):
        found = model.sample(2, prompt=PROMPTS, guidance=none, **SIZE)
        assert np.abs(pixels(found) - expected).max() < 1e-3
    with pytest.raises(PerrinError, match="guidance = 3\\.5: this network was distilled without a scale"):
        model.sample(2, prompt=PROMPTS, guidance=3.5, **SIZE)


@pytest.mark.parametrize(("strength", "high"), [(0.5, 8), (1.0, 8), (0.5, 12)])
def test_image_to_image_by_strength(saved, monkeypatch, strength, high):
    pipeline, folder = saved("flux_image_to_image")
    clean = torch.randn(2, 16, high, 8, generator=torch.Generator().manual_seed(9))
    told = {"prompt": PROMPTS, "image": clean, "strength": strength}
    found = perrin.load(folder).sample(2, steps=4, guidance=4.0, **told)
    same_noise(monkeypatch, pipeline, clean.shape[1:])
    expected = pipeline(**told, guidance_scale=4.0, **{**THEIRS, "height": 2 * high}).images
    assert np.abs(pixels(found) - expected).max() < 1e-3


def test_filling_holes(saved, monkeypatch):
    pipeline, folder = saved("flux_inpainting")
    told = {"prompt": PROMPTS, "image": picture(), "strength": 0.75}
    found = perrin.load(folder).sample(2, mask=mask(), steps=4, guidance=4.0, **told)
    same_noise(monkeypatch, pipeline, SHAPE)
    means_of_latents(monkeypatch, pipeline)
    monkeypatch.setattr(pipeline, "prepare_latents", for_each_prompt(pipeline.prepare_latents))
    expected = pipeline(**told, mask_image=mask(), guidance_scale=4.0, **THEIRS).images
    assert np.abs(pixels(found) - expected).max() < 1e-3


def for_each_prompt(prepare):
    """A pipeline's `prepare_latents`, whose one picture is for both prompts."""
    return lambda image, *told: prepare(image.expand(2, -1, -1, -1), *told)


def test_levels_are_those_of_the_scheduler_at_the_size(saved):
    pipeline, folder = saved("flux")
    model = perrin.load(folder)
    seen = set()
    for high, wide in ((16, 16), (24, 16), (32, 8)):
        pipeline("a", **{**THEIRS, "height": high, "width": wide})
        sigma = [1 / (1 + math.exp(level / 2)) for level in model.plan(steps=4, height=high, width=wide).grid]
        assert sigma == pytest.approx(pipeline.scheduler.sigmas.tolist(), abs=1e-6)
        seen.add(round(sigma[1], 4))
    assert len(seen) == 2  # (32, 8) has as many tokens as (16, 16)
    drawn = model.sample(1, prompt="a", image=picture(24), strength=1.0, steps=4).provenance[0]["plan"][
        "grid"
    ]
    assert float(drawn[1]) == pytest.approx(model.plan(steps=4, height=24, width=24).grid[1])
    assert model.plan(steps=4).grid == model.plan(steps=4, height=256, width=256).grid  # its own size
    assert (
        model.tiled(64).plan(steps=4, height=24, width=16).grid
        == model.plan(steps=4, height=24, width=16).grid
    )


@pytest.mark.slow
def test_compiled_code_gives_the_same_pictures(saved):
    folder, told = saved("flux")[1], {"prompt": PROMPTS, "steps": 2, **SIZE}
    found, expected = (
        made.sample(2, **told) for made in (perrin.load(folder).compile(), perrin.load(folder))
    )
    assert np.abs(pixels(found) - pixels(expected)).max() < 1e-3


def test_a_sample_alone_is_the_same_among_others(saved):
    model = perrin.load(saved("flux")[1])
    prompts, scales = ["a cube", "two (green:1.3) cones, " * 8, "c"], [3.5, 1.0, 6.0]
    told = {"steps": 3, "seed": 5, **SIZE}
    many = model.sample(3, prompt=prompts, guidance=scales, negative="d", true_guidance=2.0, **told)
    for i in range(3):
        alone = model.sample(
            1, prompt=prompts[i], guidance=scales[i], negative="d", true_guidance=2.0, first=i, **told
        )
        assert float((alone.state[0] - many.state[i]).abs().max()) < 1e-4 * float(many.state[i].std())


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"height": 18}, "height = 18 is not a multiple of 4; the nearest is 16"),
        ({"negative": "b"}, "true_guidance is away from a negative prompt; give both, or neither"),
        ({"true_guidance": 2.0}, "true_guidance is away from a negative prompt; give both, or neither"),
        ({"guidance": [1.0] * 3}, "3 guidance scales for 2 samples"),
    ],
)
def test_what_is_refused(saved, told, said):
    model = perrin.load(saved("flux")[1])
    with pytest.raises(PerrinError, match=said):
        model.sample(2, **{"prompt": "a", "steps": 1, **SIZE, **told})


def test_true_guidance_is_for_such_networks_alone(saved):
    model = perrin.load(saved("stable_diffusion")[1])
    with pytest.raises(PerrinError, match="true_guidance is for networks with guidance in their weights"):
        model.sample(1, prompt="a", negative="b", true_guidance=2.0)
    with pytest.raises(PerrinError, match="embedded_guidance is for networks with guidance in their weights"):
        model.sample(1, prompt="a", embedded_guidance=2.0)


def test_networks_that_take_more_than_latents_are_refused(tmp_path):
    pipeline = making_flows.flux()
    pipeline.vae = making_flows.making.autoencoder(4)
    pipeline.save_pretrained(tmp_path)
    with pytest.raises(PerrinError, match="takes 64 numbers a token; known are 16"):
        perrin.load(tmp_path)


@pytest.mark.parametrize("name", ["flux", "flux_schnell"])
def test_a_file_says_all_that_makes_it_again(saved, tmp_path, name):
    model = perrin.load(saved(name)[1])
    scale = 2.0 if name == "flux" else None
    drawn = model.sample(
        1, prompt="a cube", negative="b", guidance=scale, true_guidance=3.0, steps=2, **SIZE, seed=3
    )
    made = drawn.save(tmp_path)
    assert drawn.provenance[0]["guidance"] == 3.0
    assert drawn.provenance[0]["wanted"]["embedded_guidance"] == scale
    assert main(["repro", str(next(file for file in made if file.name.startswith("0")))]) == 0


def test_the_command(saved, tmp_path):
    told = [
        "sample",
        str(saved("flux")[1]),
        "-n",
        "1",
        "--prompt",
        "a cube",
        "--guidance",
        "2.5",
        "--steps",
        "2",
    ]
    assert main([*told, "--height", "16", "--width", "16", "--out", str(tmp_path)]) == 0
    assert main(["repro", str(next(tmp_path.glob("0*.png")))]) == 0
