"""Several ControlNets beside one network: the pictures of the pipelines with as many, and files that make them again."""

import json

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionControlNetPipeline
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
from perrin.systems.latent import changes

ONE, OTHER = picture(seed=1), picture(seed=2)
SCALES = [0.7, 1.3]
CLEAN = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(9))


@pytest.mark.parametrize("name", ["controlled_twice", "controlled_twice_xl"])
def test_each_has_its_picture_and_its_scale(saved, name):
    pipeline, folder = saved(name)
    model = perrin.load(folder)
    expected = pipeline(
        PROMPTS, image=[ONE, OTHER], negative_prompt=[NEGATIVE] * 2, controlnet_conditioning_scale=SCALES,
        latents=NOISE, height=16, width=16, **ALIKE,
    ).images  # fmt: skip
    plan, told = chain_plan(model, pipeline), {"prompt": PROMPTS, "negative": NEGATIVE}
    found = ours(model, NOISE, plan, 5.0, **told, control=[ONE, OTHER], control_scale=SCALES)
    assert np.abs(found - expected).max() < 1e-3
    turned = ours(model, NOISE, plan, 5.0, **told, control=[OTHER, ONE], control_scale=SCALES)
    assert np.abs(turned - expected).max() > 1e-2
    even = ours(model, NOISE, plan, 5.0, **told, control=[ONE, OTHER], control_scale=1.0)
    assert np.abs(even - expected).max() > 1e-2


@pytest.mark.parametrize("name", ["controlled_image_to_image", "controlled_image_to_image_xl"])
def test_beginning_at_an_image(saved, monkeypatch, name):
    pipeline, folder = saved(name)
    model = perrin.load(folder)
    plan, told = chain_plan(model, pipeline), {"prompt": PROMPTS, "image": CLEAN, "strength": 0.5}
    drawing = {"control": ONE, "control_scale": 0.7}
    found = model.sample(2, negative=NEGATIVE, plan=plan, guidance=5.0, **told, **drawing)
    same_noise(monkeypatch, pipeline)
    expected = pipeline(
        **told, negative_prompt=[NEGATIVE] * 2, control_image=[ONE, ONE], controlnet_conditioning_scale=0.7,
        height=16, width=16, **ALIKE,
    ).images  # fmt: skip
    assert np.abs(pixels(found) - expected).max() < 1e-3
    other = model.sample(2, negative=NEGATIVE, plan=plan, guidance=5.0, **told, control=OTHER)
    assert np.abs(pixels(other) - expected).max() > 1e-2


@pytest.mark.parametrize("name", ["controlled_inpainting", "controlled_inpainting_xl"])
def test_filling_holes(saved, monkeypatch, name):
    pipeline, folder = saved(name)
    model = perrin.load(folder)
    plan, told = chain_plan(model, pipeline), {"prompt": PROMPTS, "image": picture(), "strength": 0.75}
    drawing = {"control": ONE, "control_scale": 0.7}
    found = model.sample(2, negative=NEGATIVE, mask=mask(), plan=plan, guidance=5.0, **told, **drawing)
    same_noise(monkeypatch, pipeline)
    means_of_latents(monkeypatch, pipeline)
    expected = pipeline(
        **told, mask_image=mask(), negative_prompt=[NEGATIVE] * 2, control_image=[ONE, ONE],
        controlnet_conditioning_scale=0.7, height=16, width=16, **ALIKE,
    ).images  # fmt: skip
    assert np.abs(pixels(found) - expected).max() < 1e-3


def test_a_long_prompt_does_not_change_those_beside_it(saved):
    model = perrin.load(saved("controlled_twice")[1])
    told = {"steps": 2, "negative": "b", "control": [ONE, OTHER]}
    prompts = ["a", "a very long text of many words, " * 6, "c"]
    many = model.sample(3, prompt=prompts, **told)
    for i, prompt in enumerate(prompts):
        alone = model.sample(1, first=i, prompt=prompt, **told)
        assert float((alone.state[0] - many.state[i]).abs().max()) < 1e-4 * float(many.state[i].std())


@pytest.fixture
def plain(saved, tmp_path):
    """The folder without its ControlNets, whose folders lie in the other."""
    pipeline, folder = saved("controlled_twice")
    alone = making.seeded(making.stable_diffusion)
    alone.register_modules(unet=pipeline.unet, text_encoder=pipeline.text_encoder, vae=pipeline.vae)
    alone.save_pretrained(tmp_path / "plain")
    return tmp_path / "plain", folder


def test_adding_them_one_after_another_is_a_folder_with_both(plain):
    place, folder = plain
    whole = perrin.load(folder)
    first = perrin.load(place).with_control(folder / "controlnet")
    made = first.with_control(folder / "controlnet_1")
    assert made.hash == whole.hash != first.hash
    told = {"prompt": "a cube", "steps": 2, "control_scale": SCALES}
    drawn = made.sample(2, control=[ONE, [OTHER, ONE]], **told)
    assert torch.equal(drawn.state, whole.sample(2, control=[ONE, [OTHER, ONE]], **told).state)
    alone = made.sample(1, first=1, control=[ONE, ONE], **told)
    assert float((alone.state[0] - drawn.state[1]).abs().max()) < 1e-4 * float(drawn.state[1].std())
    said = [change["control"] for change in made.about["changes"]]
    assert said == [str(folder / "controlnet"), str(folder / "controlnet_1")]
    again = changes.repeated(perrin.load(place), json.loads(json.dumps(made.about["changes"])))
    assert again.hash == made.hash
    assert first.sample(control=ONE, prompt="a cube", steps=2).provenance[0]["wanted"]["control_scale"] == 1.0


def test_a_file_says_all_that_makes_it_again(plain, tmp_path):
    place, folder = plain
    made = perrin.load(place).with_control(folder / "controlnet").with_control(folder / "controlnet_1")
    for i, own in enumerate((ONE, OTHER)):
        own.save(tmp_path / f"{i}.png")
    control = [tmp_path / "0.png", tmp_path / "1.png"]
    drawn = made.sample(1, prompt="a cube", steps=2, control=control, control_scale=SCALES)
    file = next(path for path in drawn.save(tmp_path / "out") if path.name.startswith("0"))
    assert main(["repro", str(file)]) == 0
    ONE.save(tmp_path / "1.png")
    assert main(["repro", str(file)]) != 0


def test_models_with_several_are_saved_as_the_pipeline_has_them(plain, tmp_path):
    place, folder = plain
    whole, first = perrin.load(folder), perrin.load(place).with_control(folder / "controlnet")
    whole.save(tmp_path / "copy")
    first.with_control(folder / "controlnet_1").save(tmp_path / "two")
    first.save(tmp_path / "one")
    perrin.load(tmp_path / "one").with_control(folder / "controlnet_1").save(tmp_path / "one and another")
    for name in ("copy", "two", "one and another"):
        pipeline = StableDiffusionControlNetPipeline.from_pretrained(tmp_path / name)
        assert len(pipeline.controlnet.nets) == 2
        assert perrin.load(tmp_path / name).hash == whole.hash
    assert perrin.load(tmp_path / "one").hash == first.hash


def test_the_command_takes_each_flag_as_often(plain, tmp_path):
    place, folder = plain
    for i, own in enumerate((ONE, OTHER)):
        own.save(tmp_path / f"{i}.png")
    told = [
        "sample",
        str(place),
        "-n",
        "2",
        "--prompt",
        "a cube",
        "--steps",
        "2",
        "--out",
        str(tmp_path / "out"),
    ]
    for i, scale in enumerate(SCALES):
        told += ["--control-net", str(folder / ("controlnet_1" if i else "controlnet"))]
        told += ["--control", str(tmp_path / f"{i}.png"), "--control-scale", str(scale)]
    assert main(told) == 0
    with Image.open(next((tmp_path / "out").glob("00001*.png"))) as found:
        drawn = np.asarray(found)
    told = {"prompt": "a cube", "steps": 2, "control": [ONE, OTHER], "control_scale": SCALES}
    expected = perrin.load(folder).sample(2, **told).decoded[1]
    assert np.abs(drawn.astype(int) - expected).max() <= 1


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"control": ONE}, "1 control pictures for 2 ControlNets; give control as a list"),
        ({"control": [ONE, OTHER, ONE]}, "3 control pictures for 2 ControlNets"),
        ({"control": [ONE, [OTHER] * 3]}, "3 control pictures for 2 samples"),
        ({"control": [ONE, OTHER], "control_scale": [1.0]}, "1 control scales for 2 ControlNets"),
        ({}, "give control"),
    ],
)
def test_another_number_of_pictures_or_scales(saved, told, said):
    with pytest.raises(PerrinError, match=said):
        perrin.load(saved("controlled_twice")[1]).sample(2, prompt="a", steps=1, **told)


def test_a_second_one_that_does_not_fit(saved, tmp_path):
    making.control_net(making.unet(24)).save_pretrained(tmp_path)
    with pytest.raises(PerrinError, match="cross_attention_dim is 24, that of the model is 16"):
        perrin.load(saved("controlled_twice")[1]).with_control(tmp_path)
