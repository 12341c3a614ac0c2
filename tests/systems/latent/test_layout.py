"""Folders that are refused: by what is missing, unknown, a pickle or code, each with one line that says so."""

import gc
import json
import shutil

import pytest
from PIL import Image
from tests.systems.latent import making

import perrin
from perrin.cli.entry import main
from perrin.errors import PerrinError


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    making.seeded(making.stable_diffusion).save_pretrained(folder)
    return folder


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "model")


def change(folder, **entries):
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | entries))


def test_a_pipeline_that_is_not_known_is_named(folder):
    change(folder, _class_name="StableDifusionPipeline")
    with pytest.raises(PerrinError, match=r"StableDifusionPipeline.*did you mean 'StableDiffusionPipeline'"):
        perrin.load(folder)


def test_code_is_never_run(folder):
    change(folder, _class_name=["pipeline", "Mine"])
    with pytest.raises(PerrinError, match="code of its own"):
        perrin.load(folder)


def test_components_of_unknown_libraries_are_refused(folder):
    change(folder, unet=["my_unet", "Net"])
    with pytest.raises(PerrinError, match="unet is of 'my_unet'"):
        perrin.load(folder)


def test_classes_that_are_not_known_are_named(folder):
    change(folder, unet=["diffusers", "UNet3DConditionModel"])
    with pytest.raises(PerrinError, match=r"class of the unet .* 'UNet3DConditionModel'"):
        perrin.load(folder)


def test_pickles_are_refused_with_the_way_out(folder):
    (folder / "unet" / "diffusion_pytorch_model.safetensors").rename(
        folder / "unet" / "diffusion_pytorch_model.bin"
    )
    with pytest.raises(PerrinError, match=r"a pickle.*safe_serialization"):
        perrin.load(folder)


def test_missing_components_are_named(folder):
    shutil.rmtree(folder / "text_encoder")
    with pytest.raises(PerrinError, match="lacks its text_encoder"):
        perrin.load(folder)


def test_missing_weights_are_named(folder):
    (folder / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(PerrinError, match="vae holds no weights"):
        perrin.load(folder)


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({}, "give one"),
        ({"prompt": "  "}, "the prompt is empty"),
        ({"prompt": ["a", "b", "c"]}, "3 prompts for 2 samples"),
        ({"prompt": "a", "height": 18}, "height = 18 is not a multiple of 4; the nearest is 16"),
        ({"prompt": "a", "label": 3}, "knows texts, no classes"),
        ({"prompt": "a)"}, "closes no bracket"),
    ],
)
def test_wishes_that_cannot_be_met(whole, wanted, said):
    with pytest.raises(PerrinError, match=said):
        perrin.load(whole).sample(2, steps=1, **wanted)


def test_a_sample_alone_is_the_same_among_others(whole):
    model = perrin.load(whole)
    long = "a very " * 60 + "red cube"  # takes two parts
    many = model.sample(
        3, prompt=["a cube", long, "a (red:1.4) cone"], negative=["", "dark", ""], steps=3, seed=5
    )
    for i, (prompt, negative) in enumerate([("a cube", ""), (long, "dark"), ("a (red:1.4) cone", "")]):
        alone = model.sample(1, prompt=prompt, negative=negative, steps=3, seed=5, first=i)
        assert float((alone.state[0] - many.state[i]).abs().max()) < 1e-4 * float(many.state[i].std())
    assert many.provenance[1]["wanted"]["prompt"] == long
    assert float((many.state[0] - many.state[2]).abs().max()) > 1e-2


def test_the_command_writes_pictures_that_other_tools_read(whole, tmp_path):
    told = [
        "sample",
        str(whole),
        "-n",
        "2",
        "--prompt",
        "a red cube",
        "--negative",
        "blurry",
        "--guidance",
        "5",
    ]
    told += ["--steps", "2", "--seed", "7", "--height", "24", "--out", str(tmp_path / "out")]
    assert main(told) == 0
    with Image.open(tmp_path / "out" / "00001.png") as picture:
        assert picture.size == (16, 24)
        lines = picture.info["parameters"].splitlines()
    assert lines[:2] == ["a red cube", "Negative prompt: blurry"]
    assert lines[2].startswith(
        "Steps: 2, Sampler: DPM++ 2M, CFG scale: 5.0, Seed: 7, Size: 16x24, Model hash: "
    )
    assert main(["repro", str(tmp_path / "out" / "00001.png")]) == 0
    assert main(["sample", str(whole), "--prompt", "a", "--infill", "b ___"]) == 2


@pytest.mark.parametrize("enabled", [True, False])
def test_opening_leaves_the_collector_of_cycles_as_it_was(saved, tmp_path, enabled):
    _, folder = saved("ddpm")
    (tmp_path / "model_index.json").write_text('{"_class_name": "DDPMPipeline"}')
    (gc.enable if enabled else gc.disable)()
    try:
        perrin.load(folder)
        found = gc.isenabled()
        with pytest.raises(PerrinError, match="lacks its unet"):
            perrin.load(tmp_path)
        assert (found, gc.isenabled()) == (enabled, enabled)
    finally:
        gc.enable()
