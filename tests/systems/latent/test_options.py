"""Options of `perrin sample` for pretrained folders, from the command line to the picture and its provenance."""

import json

import pytest
import torch
from PIL import Image
from tests.systems.latent.comparing import picture

from perrin.cli.entry import main
from perrin.cli.pretrained import settings, told
from perrin.errors import PerrinError
from perrin.kinds.provenance import read_provenance


@pytest.fixture
def sampled(saved, tmp_path):
    """(size, provenance) of one picture of a folder under some options."""

    def run(name, *options):
        out = tmp_path / "one.png"
        words = ["sample", str(saved(name)[1]), "-n", "1", "--steps", "2", "--out", str(out)]
        assert main([*words, *(str(word) for word in options)]) == 0
        with Image.open(out) as held:
            return held.size, read_provenance(out)

    return run


def test_a_cascade(sampled, saved, tmp_path):
    size, made = sampled(
        "deepfloyd", "--upscaler", saved("deepfloyd_larger")[1], "--prompt", "a cube", "--before", "steps=3", "--before",
        "guidance=2.5", "--seed", 4,
    )  # fmt: skip
    (change,) = made["changes"]
    assert change["after"] == str(saved("deepfloyd")[1])
    before = made["wanted"]["before"]
    assert (len(before["plan"]["grid"]), before["guidance"]) == (4, 2.5)
    assert size[0] > 8
    assert main(["repro", str(tmp_path / "one.png")]) == 0


def test_a_grid_of_a_cascade_is_as_each_picture_alone(sampled, saved, tmp_path):
    import numpy as np

    (tmp_path / "prompts.txt").write_text("a cube\na ball --guidance 2\n")
    words = [
        "sample",
        str(saved("deepfloyd")[1]),
        "--upscaler",
        str(saved("deepfloyd_larger")[1]),
        "--steps",
        "2",
    ]
    assert (
        main(
            [*words, "--grid", str(tmp_path / "prompts.txt"), "-n", "2", "--out", str(tmp_path / "sheet.png")]
        )
        == 0
    )
    sampled(
        "deepfloyd", "--upscaler", saved("deepfloyd_larger")[1], "--prompt", "a ball", "--guidance", 2, "--seed", 1
    )  # fmt: skip
    with (
        Image.open(tmp_path / "one.png") as one,
        Image.open(tmp_path / "sheet" / "00002_a-ball_seed-1.png") as two,
    ):
        assert np.abs(np.asarray(one, np.int64) - np.asarray(two)).max() <= 1


def test_variations_of_a_picture(sampled, tmp_path):
    picture(32).save(tmp_path / "photo.png")
    _, made = sampled("image_variations", "--variation-of", tmp_path / "photo.png")
    assert made["wanted"]["variation_of"]["file"] == str(tmp_path / "photo.png")


def test_several_control_nets(sampled, tmp_path):
    drawings = [tmp_path / "a.png", tmp_path / "b.png"]
    for i, file in enumerate(drawings):
        picture(seed=i).save(file)
    _, made = sampled(
        "controlled_twice", "--prompt", "a", "--control", drawings[0], "--control", drawings[1], "--control-scale", 0.5,
        "--control-scale", 1.0,
    )  # fmt: skip
    assert made["wanted"]["control_scale"] == [0.5, 1.0]
    _, made = sampled("controlled", "--prompt", "a", "--control", drawings[0], "--control-scale", 0.5)
    assert made["wanted"]["control_scale"] == 0.5


def test_guidance_in_the_weights_and_beside_them(sampled):
    _, made = sampled("flux", "--prompt", "a", "--guidance", 3, "--negative", "wet", "--true-guidance", 2)
    assert (made["guidance"], made["wanted"]["embedded_guidance"]) == (2.0, 3.0)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_precision(sampled, dtype, capsys):
    _, made = sampled("stable_diffusion", "--prompt", "a", "--dtype", dtype, "--guidance", 1)
    assert made["dtype"].endswith(dtype)
    lines = [line for line in capsys.readouterr().err.splitlines() if dtype in line]
    assert len(lines) == 1
    assert "cpu" in lines[0]


def test_how_it_computes_is_said_once_and_apart_from_results(saved, tmp_path, capsys):
    words = [
        "sample",
        str(saved("stable_diffusion")[1]),
        "--prompt",
        "a",
        "-n",
        "1",
        "--steps",
        "1",
        "--channels-last",
    ]
    assert main([*words, "--json", "--out", str(tmp_path / "out")]) == 0
    found = capsys.readouterr()
    assert json.loads(found.out)["evaluations_per_sample"] == 1
    said = [line for line in found.err.splitlines() if line.startswith("float32 on cpu")]
    assert len(said) == 1
    assert "channels" in said[0]


def test_compiling_is_asked_of_the_networks(sampled, monkeypatch):
    asked = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **options: asked.append(type(self).__name__))
    sampled("stable_diffusion", "--prompt", "a", "--compile")
    assert asked == ["UNet2DConditionModel"]


def test_settings_of_the_model_before():
    assert settings(["steps=20", "solver=heun", "before.steps = 3", "interval=[-3, 4]"]) == {
        "steps": 20, "solver": "heun", "before": {"steps": 3}, "interval": [-3, 4],
    }  # fmt: skip
    for text in ("steps", "=3"):
        with pytest.raises(PerrinError, match="write NAME=VALUE, such as steps=20"):
            settings([text])


def test_one_picture_is_given_as_it_is_and_several_as_a_list():
    assert told({"control": ["a"], "control-scale": [0.5, 1.0], "mask": None}) == {
        "control": "a", "control_scale": [0.5, 1.0],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("stable_diffusion", ["--upscaler", "gone"], "no model at 'gone'"),
        ("stable_diffusion", ["--before", "steps=3"], "none does: after(MODEL)"),
        ("stable_diffusion", ["--dtype", "float8"], "float8"),
        ("stable_diffusion", ["--offload", "some"], "some"),
        ("stable_diffusion", ["--variation-of", "a.png"], "draws no variations"),
        ("stable_diffusion", ["--true-guidance", "2"], "guidance in their weights"),
        ("stable_diffusion", ["--control", "a.png"], "ControlNet"),
        ("ddpm", ["--variation-of", "a.png"], "--variation-of is for models of pictures from prompts"),
        ("ddpm", ["--prompt", "a"], "--prompt and --infill are for models of text"),
    ],
)
def test_options_that_do_not_fit(saved, tmp_path, capsys, name, options, says):
    words = ["--prompt", "a"] if name != "ddpm" else []
    assert main(["sample", str(saved(name)[1]), *words, *options, "--out", str(tmp_path / "out")]) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("perrin: ")]
    assert len(error) == 1
    assert says in error[0]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "options",
    [["--lora", "a"], ["--seamless"], ["--tiles", "64"], ["--control-net", "a"], ["--channels-last"],
     ["--dtype", "float16"], ["--upscaler", "MODEL"]],
)  # fmt: skip
def test_models_of_perrin_are_no_pretrained_folders(tmp_path, capsys, options):
    from tests.model.making import image_model

    folder = image_model().save(tmp_path / "m")
    words = [str(folder) if word == "MODEL" else word for word in options]
    assert main(["sample", str(folder), *words]) == 2
    assert "layout of diffusers" in capsys.readouterr().err
