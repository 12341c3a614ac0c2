"""Samples that are told pictures: to begin at, to fill a hole in, to follow; as the pipelines draw them."""

import numpy as np
import pytest
import torch
from PIL import Image
from tests.systems.latent import making
from tests.systems.latent.comparing import (
    ALIKE,
    NEGATIVE,
    NOISE,
    PROMPTS,
    chain_plan,
    mask,
    means_of_latents,
    ours,
    picture,
    pixels,
    same_noise,
)

import perrin
from perrin.cli.entry import main
from perrin.errors import PerrinError

CLEAN = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(9))


@pytest.mark.parametrize(
    ("name", "strength"),
    [
        ("image_to_image", 0.5),
        ("image_to_image", 1.0),
        ("image_to_image_xl", 0.75),
        ("image_to_image_3", 0.5),
    ],
)
def test_image_to_image_by_strength(saved, monkeypatch, name, strength):
    pipeline, folder = saved(name)
    model = perrin.load(folder)
    plan = chain_plan(model, pipeline)
    found = model.sample(
        2, prompt=PROMPTS, negative=NEGATIVE, image=CLEAN, strength=strength, plan=plan, guidance=5.0
    )
    same_noise(monkeypatch, pipeline)
    expected = pipeline(
        PROMPTS, image=CLEAN, negative_prompt=[NEGATIVE] * 2, strength=strength, **ALIKE
    ).images
    assert np.abs(pixels(found) - expected).max() < 1e-3
    other = model.sample(2, prompt=PROMPTS, negative=NEGATIVE, plan=plan, guidance=5.0)
    assert np.abs(pixels(other) - expected).max() > 0.02


@pytest.mark.parametrize("name", ["inpainting", "inpainting_xl"])
def test_a_network_trained_to_fill_holes(saved, monkeypatch, name):
    pipeline, folder = saved(name)
    means_of_latents(monkeypatch, pipeline)
    expected = pipeline(
        PROMPTS, negative_prompt=[NEGATIVE] * 2, image=picture(), mask_image=mask(), strength=1.0, latents=NOISE,
        height=16, width=16, **ALIKE,
    ).images  # fmt: skip
    model = perrin.load(folder)
    wanted = {"prompt": PROMPTS, "negative": NEGATIVE, "image": picture(), "mask": mask()}
    found = ours(model, NOISE, chain_plan(model, pipeline), 5.0, **wanted)
    assert np.abs(found - expected).max() < 1e-3
    other = ours(model, NOISE, chain_plan(model, pipeline), 5.0, **{**wanted, "image": picture(seed=1)})
    assert np.abs(found - other).max() > 1e-2


def test_filling_holes_with_a_network_that_was_not_trained_for_it(saved, monkeypatch):
    pipeline, folder = saved("inpainting_of_any")
    model = perrin.load(folder)
    plan = chain_plan(model, pipeline)
    found = model.sample(
        2, prompt=PROMPTS, negative=NEGATIVE, image=CLEAN, mask=mask(), strength=0.5, plan=plan, guidance=5.0
    )
    same_noise(monkeypatch, pipeline)
    expected = pipeline(
        PROMPTS, negative_prompt=[NEGATIVE] * 2, image=CLEAN, mask_image=mask(), masked_image_latents=CLEAN,
        strength=0.5, height=16, width=16, **ALIKE,
    ).images  # fmt: skip
    assert np.abs(pixels(found) - expected).max() < 1e-3
    kept = torch.ones(8, 8, dtype=torch.bool)
    kept[:4, 2:] = False
    assert torch.allclose(found.state[:, :, kept], CLEAN[:, :, kept], atol=1e-5)
    assert float((found.state - CLEAN)[:, :, ~kept].abs().max()) > 0.1


@pytest.mark.parametrize("name", ["controlled", "controlled_xl"])
def test_control(saved, name):
    pipeline, folder = saved(name)
    model = perrin.load(folder)
    drawing = [picture(seed=1), picture(seed=2)]
    expected = pipeline(
        PROMPTS, image=drawing, negative_prompt=[NEGATIVE] * 2, controlnet_conditioning_scale=0.7, latents=NOISE,
        height=16, width=16, **ALIKE,
    ).images  # fmt: skip
    wanted = {"prompt": PROMPTS, "negative": NEGATIVE, "control": drawing}
    plan = chain_plan(model, pipeline)
    assert np.abs(ours(model, NOISE, plan, 5.0, **wanted, control_scale=0.7) - expected).max() < 1e-3
    assert np.abs(ours(model, NOISE, plan, 5.0, **wanted, control_scale=0.0) - expected).max() > 1e-2


def test_a_control_net_beside_a_model_is_the_same_as_one_in_its_folder(saved):
    pipeline, folder = saved("controlled")
    whole = perrin.load(folder)
    plain = making.seeded(making.stable_diffusion)
    plain.register_modules(unet=pipeline.unet, text_encoder=pipeline.text_encoder, vae=pipeline.vae)
    place = folder.parent / "plain"
    plain.save_pretrained(place)
    made = perrin.load(place).with_control(folder / "controlnet")
    assert made.hash == whole.hash
    told = {"prompt": "a cube", "steps": 2, "control": picture(), "control_scale": 2.0}
    assert torch.equal(made.sample(**told).state, whole.sample(**told).state)
    assert [change["control"] for change in made.about["changes"]] == [str(folder / "controlnet")]


def test_control_nets_that_do_not_fit(saved, tmp_path):
    own = perrin.load(saved("stable_diffusion")[1])
    making.control_net(making.unet()).save_pretrained(tmp_path / "wide")
    making.control_net(making.unet(24)).save_pretrained(tmp_path / "other")
    with pytest.raises(PerrinError, match="it sees 8 pixels a latent, the model has 2"):
        own.with_control(tmp_path / "wide")
    with pytest.raises(PerrinError, match="cross_attention_dim is 24, that of the model is 16"):
        own.with_control(tmp_path / "other")
    with pytest.raises(PerrinError, match="no ControlNetModel at"):
        own.with_control(tmp_path / "none")
    with pytest.raises(PerrinError, match="a UNet2DConditionModel, not a ControlNetModel"):
        own.with_control(saved("stable_diffusion")[1] / "unet")
    with pytest.raises(PerrinError, match="this model's network is a DiT"):
        perrin.load(saved("dit")[1]).with_control(tmp_path / "wide")


@pytest.mark.parametrize(
    ("name", "wanted", "said"),
    [
        ("stable_diffusion", {"control": picture()}, "models with a ControlNet"),
        ("controlled", {}, "give control"),
        ("inpainting", {"image": picture()}, "give image and mask"),
        ("stable_diffusion", {"mask": mask()}, "mask is of an image"),
        ("stable_diffusion", {"image": picture(), "mask": mask(8)}, "the mask is of 8 x 8 pixels, the image of 16 x 16"),
        ("stable_diffusion", {"image": picture(18)}, "height = 18 is not a multiple of 4; the nearest is 16"),
        ("stable_diffusion", {"image": "none.png"}, "the image none.png cannot be read"),
        ("stable_diffusion", {"image": [picture()] * 3}, "3 images for 2 samples"),
        ("stable_diffusion", {"image": np.zeros((16, 16))}, "uint8 pixels"),
        ("stable_diffusion", {"image": torch.zeros(3, 8, 8)}, "the latents have shape"),
        ("stable_diffusion", {"image": picture(), "mask": np.zeros((16, 16), bool)}, "the mask fills nothing"),
        ("stable_diffusion", {"image": picture(), "strength": 0.0}, "strength = 0.0"),
        ("stable_diffusion", {"strength": 0.5}, "give image"),
    ],
)  # fmt: skip
def test_pictures_of_no_use(saved, name, wanted, said):
    with pytest.raises(PerrinError, match=said):
        perrin.load(saved(name)[1]).sample(2, prompt="a", steps=2, **wanted)


def test_a_sample_alone_is_the_same_among_others(saved):
    model = perrin.load(saved("inpainting")[1])
    pictures, holes = [picture(seed=i) for i in range(3)], [mask(), mask(), np.ones((16, 16), bool)]
    many = model.sample(3, prompt="a cube", image=pictures, mask=holes, strength=0.8, steps=4, seed=5)
    for i in range(3):
        alone = model.sample(
            1, prompt="a cube", image=pictures[i], mask=holes[i], strength=0.8, steps=4, seed=5, first=i
        )
        assert float((alone.state[0] - many.state[i]).abs().max()) < 1e-4 * float(many.state[i].std())


def test_the_command_repaints_a_file_and_makes_it_again(saved, tmp_path, capsys):
    picture(24).save(tmp_path / "photo.png")
    mask(24).save(tmp_path / "hole.png")
    folder = str(saved("stable_diffusion")[1])
    told = ["sample", folder, "-n", "1", "--prompt", "a", "--steps", "4", "--out", str(tmp_path / "out")]
    told += [
        "--image",
        str(tmp_path / "photo.png"),
        "--mask",
        str(tmp_path / "hole.png"),
        "--strength",
        "0.7",
    ]
    assert main(told) == 0
    made = next((tmp_path / "out").glob("0*.png"))
    with Image.open(made) as drawn:
        assert drawn.size == (24, 24)
    assert main(["repro", str(made)]) == 0
    picture(24, seed=3).save(tmp_path / "photo.png")
    capsys.readouterr()
    assert main(["repro", str(made)]) != 0
    assert "no longer the image" in capsys.readouterr().err
