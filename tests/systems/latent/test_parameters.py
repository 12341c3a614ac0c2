"""The text `parameters`, read back by a small reader that was written from the format's public description."""

import json
import re

import pytest
from PIL import Image
from safetensors.torch import save_file
from tests.systems.latent.comparing import picture

import perrin
from perrin.systems.latent.lora import file_hash
from perrin.systems.latent.parameters import SAMPLERS, quoted

PAIR = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')


def read(text):
    """(prompt, negative prompt, settings): the last line holds pairs, all before it are prompts."""
    *lines, last = text.strip().split("\n")
    pairs = PAIR.findall(last)
    if len(pairs) < 3:
        lines, pairs = [*lines, last], []
    prompt, negative, inside = [], [], False
    for line in lines:
        if line.startswith("Negative prompt:"):
            inside, line = True, line.removeprefix("Negative prompt:").strip()
        (negative if inside else prompt).append(line)
    plain = {name: json.loads(value) if value.startswith('"') else value for name, value in pairs}
    return "\n".join(prompt), "\n".join(negative), plain


def said(samples, place):
    """What the picture of the first sample says."""
    samples.save(place)
    with Image.open(place) as held:
        return read(held.info["parameters"])


def lora(model, place):
    import torch

    names = [n for n, m in model.denoiser.net.net.named_modules() if n.endswith("attn1.to_q")]
    width = model.denoiser.net.net.get_submodule(names[0]).weight.shape
    tensors = {"lora_A": torch.ones(1, width[1]), "lora_B": torch.ones(width[0], 1)}
    save_file({f"unet.{names[0]}.{part}.weight": value for part, value in tensors.items()}, place)
    return place


def test_other_tools_find_what_they_look_for(saved, tmp_path):
    model = perrin.load(saved("stable_diffusion")[1])
    one, two = lora(model, tmp_path / "style.safetensors"), lora(model, tmp_path / "ink, wash.safetensors")
    model = model.with_lora(one, 0.8).with_lora(two)
    samples = model.sample(
        prompt="a cat's eye, red: very\nand a second line", negative="blurry, dark", guidance=5, steps=10, seed=7,
        solver="euler_ancestral", image=picture(24), strength=0.55,
    )  # fmt: skip
    prompt, negative, settings = said(samples, tmp_path / "one.png")
    assert prompt == "a cat's eye, red: very\nand a second line <lora:style:0.8> <lora:ink, wash:1>"
    assert negative == "blurry, dark"
    assert settings == {
        "Steps": "10", "Sampler": "Euler a", "CFG scale": "5.0", "Seed": "7", "Size": "24x24",
        "Model hash": model.hash, "Model": model.about["name"], "Denoising strength": "0.55",
        "Lora hashes": f"style: {file_hash(one)}, ink, wash: {file_hash(two)}", "Version": f"Perrin {perrin.__version__}",
    }  # fmt: skip


def test_a_plain_picture_says_no_more_than_it_is(saved, tmp_path):
    model = perrin.load(saved("stable_diffusion")[1])
    prompt, negative, settings = said(model.sample(prompt="a", steps=2), tmp_path / "one.png")
    assert (prompt, negative) == ("a", "")
    assert list(settings) == [
        "Steps",
        "Sampler",
        "CFG scale",
        "Seed",
        "Size",
        "Model hash",
        "Model",
        "Version",
    ]
    assert settings["Sampler"] == "DPM++ 2M"


def test_control_nets_and_tiling_are_named(saved, tmp_path):
    folder = saved("controlled")[1]
    plain = saved("stable_diffusion")[1]
    model = perrin.load(plain).with_control(folder / "controlnet").seamless()
    samples = model.sample(prompt="a", steps=1, control=picture(), control_scale=0.5)
    settings = said(samples, tmp_path / "one.png")[2]
    net = model.about["changes"][0]["hash"]
    assert settings["ControlNet 0"] == f"Model: controlnet [{net}], Weight: 0.5"
    assert settings["Tiling"] == "True"


def test_samplers_are_rules(saved):
    from perrin.registry import rules

    assert set(SAMPLERS) <= set(rules)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (7, "7"),
        ("a b", "a b"),
        ("a, b", '"a, b"'),
        ('say "x"', '"say \\"x\\""'),
        ("a: b", '"a: b"'),
        ("ü, ö", '"ü, ö"'),
    ],
)
def test_values_with_signs_that_divide_are_quoted(value, text):
    assert quoted(value) == text
