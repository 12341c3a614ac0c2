"""Stable Diffusion 3 with all its encoders, levels that move with the size, LoRAs of transformers, SDXL's refiner."""

import math

import numpy as np
import pytest
import torch
from diffusers.loaders.lora_conversion_utils import _convert_kohya_flux_lora_to_diffusers
from safetensors.torch import save_file
from tests.systems.latent.comparing import (
    ALIKE,
    NEGATIVE,
    NOISE,
    PROMPTS,
    STEPS,
    chain_plan,
    mask,
    means_of_latents,
    ours,
    picture,
    pixels,
    same_noise,
)

import perrin
from perrin.errors import PerrinError
from perrin.systems.latent.fused_names import fused_names
from perrin.systems.latent.noise_tables import trained

CLEAN = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(9))
LONG = "a very long text of many words, " * 6


@pytest.mark.parametrize("prompts", [PROMPTS, [LONG, "a"]])
def test_three_encoders(saved, prompts):
    pipeline, folder = saved("stable_diffusion_3_t5")
    model = perrin.load(folder)
    expected = pipeline(
        prompts, negative_prompt=[NEGATIVE] * 2, latents=NOISE, height=16, width=16, **ALIKE
    ).images
    told = {"prompt": prompts, "negative": NEGATIVE}
    plan = chain_plan(model, pipeline)
    assert np.abs(ours(model, NOISE, plan, 5.0, **told) - expected).max() < 1e-3
    model.codec.text.third.filled = False
    assert np.abs(ours(model, NOISE, plan, 5.0, **told) - expected).max() > 1e-3


def test_filling_holes(saved, monkeypatch):
    pipeline, folder = saved("inpainting_3")
    model = perrin.load(folder)
    told = {"prompt": PROMPTS, "image": picture(), "strength": 0.5}
    plan = chain_plan(model, pipeline)
    found = model.sample(2, negative=NEGATIVE, mask=mask(), plan=plan, guidance=5.0, **told)
    same_noise(monkeypatch, pipeline, (16, 8, 8))
    means_of_latents(monkeypatch, pipeline)
    expected = pipeline(
        **told, negative_prompt=[NEGATIVE] * 2, mask_image=mask(), height=16, width=16, **ALIKE
    ).images
    assert np.abs(pixels(found) - expected).max() < 1e-3


def test_weights_of_words_are_weights_of_t5s_tokens_too(saved):
    text = perrin.load(saved("flux")[1]).codec.text.second
    plain, heavy, other = (
        text([words])["prompt"][0] for words in ("ab cd ef", "ab (cd:1.5) ef", "ab [cd] ef")
    )
    there = text.tokenizer(["ab", "cd", "ef"], add_special_tokens=False).input_ids
    weight = torch.ones(len(plain), 1)
    weight[len(there[0]) : len(there[0]) + len(there[1])] = 1.5
    assert torch.allclose(heavy, plain * weight)
    assert torch.allclose(other, plain * torch.where(weight > 1, 1 / 1.1, 1.0))


def test_a_long_prompt_does_not_change_those_beside_it(saved):
    model = perrin.load(saved("stable_diffusion_3_t5")[1])
    many = model.sample(2, prompt=["a", LONG], steps=2)
    alone = model.sample(1, prompt="a", steps=2)
    assert float((alone.state[0] - many.state[0]).abs().max()) < 1e-4 * float(many.state[0].std())


@pytest.mark.parametrize("kind", ["exponential", "linear"])
@pytest.mark.parametrize("size", [(16, 16), (24, 32)])
def test_levels_move_with_the_size_as_the_schedulers_do(saved, kind, size):
    pipeline, folder = saved("stable_diffusion_3_dynamic")
    model, scheduler = perrin.load(folder), pipeline.scheduler.from_config(
        pipeline.scheduler.config, time_shift_type=kind
    )  # fmt: skip
    model.by_size = trained(dict(scheduler.config) | {"_class_name": "FlowMatch"}).by_size
    high, wide = size
    told = {name: scheduler.config[name] for name in ("base_shift", "max_shift")}
    low, top = scheduler.config.base_image_seq_len, scheduler.config.max_image_seq_len
    tokens = high // 4 * (wide // 4)  # 2 pixels a latent, 2 latents a token
    mu = told["base_shift"] + (told["max_shift"] - told["base_shift"]) * (tokens - low) / (top - low)
    scheduler.set_timesteps(sigmas=np.linspace(1, 1 / STEPS, STEPS), mu=mu)
    found = [1 / (1 + math.exp(level / 2)) for level in model.plan(steps=STEPS, height=high, width=wide).grid]
    assert found == pytest.approx(scheduler.sigmas.tolist(), abs=1e-6)


def test_the_pictures_under_such_levels(saved):
    pipeline, folder = saved("stable_diffusion_3_dynamic")
    model = perrin.load(folder)
    noise = torch.randn(2, 4, 12, 8, generator=torch.Generator().manual_seed(4))
    asked = {k: v for k, v in ALIKE.items() if k != "num_inference_steps"}
    sigmas = np.linspace(1, 1 / STEPS, STEPS)
    expected = pipeline(PROMPTS, latents=noise, height=24, width=16, sigmas=sigmas, **asked).images
    plan = model.plan(steps=STEPS, height=24, width=16)
    found = ours(model, noise, plan, 5.0, prompt=PROMPTS, height=24, width=16)
    assert np.abs(found - expected).max() < 1e-3
    usual = ours(model, noise, model.plan(steps=STEPS), 5.0, prompt=PROMPTS, height=24, width=16)
    assert np.abs(usual - expected).max() > 1e-3


def test_the_refiner_is_told_how_much_people_like_pictures(saved, monkeypatch):
    pipeline, folder = saved("refiner")
    model = perrin.load(folder)
    plan = chain_plan(model, pipeline)
    told = {"prompt": PROMPTS, "image": CLEAN, "strength": 0.5}
    found = model.sample(2, negative=NEGATIVE, plan=plan, guidance=5.0, **told)
    same_noise(monkeypatch, pipeline)
    expected = pipeline(**told, negative_prompt=[NEGATIVE] * 2, **ALIKE).images
    assert np.abs(pixels(found) - expected).max() < 1e-3
    condition = model.codec.outline(1, 0, 0, prompt="a", image=CLEAN[:1]).condition
    assert condition["sizes"].tolist() == [[16, 16, 0, 0, 6.0]]
    assert condition["negative/sizes"].tolist() == [[16, 16, 0, 0, 2.5]]


LAYERS = {
    "flux": ["transformer_blocks.0.attn.to_q", "single_transformer_blocks.0.proj_out", "x_embedder"],
    "stable_diffusion_3_t5": ["transformer_blocks.1.attn.add_k_proj", "transformer_blocks.0.ff.net.0.proj"],
}


@pytest.mark.parametrize("name", list(LAYERS))
@pytest.mark.parametrize("start", ["transformer.", "base_model.model.", "lora_transformer_"])
def test_loras_of_transformers(saved, tmp_path, name, start):
    pipeline, folder = saved(name)
    held, expected, draw = {}, {}, torch.Generator().manual_seed(1)
    for layer in LAYERS[name]:
        weight = pipeline.transformer.get_parameter(layer + ".weight")
        down, up = (torch.randn(shape, generator=draw) for shape in ((2, weight.shape[1]), (len(weight), 2)))
        kohya = start.endswith("_")
        key = start + (layer.replace(".", "_") if kohya else layer)
        ends = ("lora_down", "lora_up") if kohya else ("lora_A", "lora_B")
        held |= {f"{key}.{ends[0]}.weight": down, f"{key}.{ends[1]}.weight": up}
        expected[layer + ".weight"] = weight + 0.5 * up @ down
    save_file(held, tmp_path / "a.safetensors")
    made = perrin.load(folder).with_lora(tmp_path / "a.safetensors", 0.5)
    for layer, weight in made.denoiser.net.net.named_parameters():
        wanted = expected.get(layer, pipeline.transformer.get_parameter(layer))
        assert torch.allclose(weight, wanted, atol=1e-5), layer


def test_first_names_are_those_that_diffusers_knows(saved, tmp_path):
    """Every number of kohya's file ends where diffusers' own reading of it puts it, whose widths of `linear1` are fixed."""
    pipeline, folder = saved("flux")
    flux = dict(pipeline.transformer.named_parameters())
    held = {}
    for name, parts in fused_names([key.removesuffix(".weight") for key in flux]):
        if name.startswith("joint_blocks") or name.endswith("linear1"):
            continue
        rows = sum(len(flux[f"{part}.weight"]) for part in parts)
        flat = "lora_unet_" + name.replace(".", "_")
        held[f"{flat}.lora_down.weight"] = torch.randn(2, flux[f"{parts[0]}.weight"].shape[1])
        held[f"{flat}.lora_up.weight"] = torch.randn(rows, 2)
        if not name.startswith("final"):  # of which diffusers does not read it
            held[f"{flat}.alpha"] = torch.tensor(1.0)
    save_file(held, tmp_path / "a.safetensors")
    made = perrin.load(folder).with_lora(tmp_path / "a.safetensors", 0.5)
    found = _convert_kohya_flux_lora_to_diffusers(dict(held))
    places = {key.removesuffix(".lora_A.weight") for key in found if key.endswith(".lora_A.weight")}
    assert len(places) == 14 + 2 + 9  # of the two streams, of one, and alone
    for place in places:
        down, up = (found[f"{place}.lora_{part}.weight"] for part in "AB")
        layer = place.removeprefix("transformer.")
        wanted = flux[layer + ".weight"] + 0.5 * up @ down
        assert torch.allclose(made.denoiser.net.net.get_parameter(layer + ".weight"), wanted, atol=1e-5), (
            layer
        )


FUSED = [
    (
        "flux",
        "single_blocks.0.linear1",
        [
            f"single_transformer_blocks.0.{part}"
            for part in ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp")
        ],
    ),
    (
        "stable_diffusion_3_t5",
        "joint_blocks.0.context_block.attn.qkv",
        [f"transformer_blocks.0.attn.add_{part}_proj" for part in "qkv"],
    ),
    ("stable_diffusion_3_t5", "joint_blocks.1.x_block.mlp.fc2", ["transformer_blocks.1.ff.net.2"]),
]


@pytest.mark.parametrize(("folder", "name", "layers"), FUSED)
def test_layers_that_were_one(saved, tmp_path, folder, name, layers):
    pipeline, place = saved(folder)
    weights = [pipeline.transformer.get_parameter(f"{layer}.weight") for layer in layers]
    draw, rows = torch.Generator().manual_seed(1), [len(weight) for weight in weights]
    down, up = (torch.randn(shape, generator=draw) for shape in ((2, weights[0].shape[1]), (sum(rows), 2)))
    key = f"diffusion_model.{name}.lora_"
    save_file({f"{key}A.weight": down, f"{key}B.weight": up}, tmp_path / "a.safetensors")
    made = perrin.load(place).with_lora(tmp_path / "a.safetensors").denoiser.net.net
    changed = {
        f"{layer}.weight": w + b @ down for layer, w, b in zip(layers, weights, up.split(rows), strict=True)
    }
    for layer, weight in pipeline.transformer.named_parameters():
        assert torch.allclose(made.get_parameter(layer), changed.get(layer, weight), atol=1e-5), layer
    save_file({f"{key}A.weight": down, f"{key}B.weight": up[1:]}, tmp_path / "b.safetensors")
    with pytest.raises(PerrinError, match=rf"for another layer than this model's of \({sum(rows)}, "):
        perrin.load(place).with_lora(tmp_path / "b.safetensors")


def test_a_lora_of_t5(saved, tmp_path):
    pipeline, folder = saved("flux")
    layer = "encoder.block.0.layer.0.SelfAttention.q"
    down, up = torch.randn(2, 16), torch.randn(16, 2)
    save_file(
        {f"text_encoder_2.{layer}.lora_A.weight": down, f"text_encoder_2.{layer}.lora_B.weight": up},
        tmp_path / "a.safetensors",
    )
    made = perrin.load(folder).with_lora(tmp_path / "a.safetensors")
    wanted = pipeline.text_encoder_2.get_parameter(layer + ".weight") + up @ down
    assert torch.allclose(made.codec.text.second.encoder.get_parameter(layer + ".weight"), wanted, atol=1e-5)


def test_the_usual_plan_takes_the_shift_of_the_folder(saved):
    _, folder = saved("stable_diffusion_3")
    model = perrin.load(folder)
    sigma = torch.sigmoid(-0.5 * torch.tensor(model.plan(steps=4).levels, dtype=torch.float64))
    t = torch.tensor([1.0, 0.75, 0.5, 0.25, 0.0], dtype=torch.float64)
    torch.testing.assert_close(sigma, 3 * t / (1 + 2 * t))  # FlowMatchEulerDiscreteScheduler(shift=3)
