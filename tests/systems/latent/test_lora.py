"""LoRA files, under each of their names, change the weights by scale (alpha / rank) B A, and nothing else."""

import json

import pytest
import torch
from diffusers.loaders.lora_conversion_utils import (
    _convert_non_diffusers_lora_to_diffusers,
    _maybe_map_sgm_blocks_to_diffusers,
)
from safetensors.torch import save_file
from tests.systems.latent import making
from tests.systems.latent.comparing import ALIKE, NOISE, PROMPTS, chain_plan, ours

import perrin
from perrin.cli.entry import main
from perrin.cli.pretrained import scaled
from perrin.errors import PerrinError
from perrin.systems.latent.lora_reading import low_ranks
from perrin.systems.latent.original_names import original_name

RANK = 2
LINEAR = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out.0"
SMALL, WIDE = "up_blocks.1.resnets.0.conv_shortcut", "down_blocks.0.downsamplers.0.conv"
QUERY = "encoder.layers.0.self_attn.q_proj"


def factors(weight, seed):
    """A and B for a layer, as they are saved."""
    draw = torch.Generator().manual_seed(seed)
    down = torch.randn(RANK, *weight.shape[1:], generator=draw)
    return down, torch.randn(weight.shape[0], RANK, *[1] * (weight.dim() - 2), generator=draw)


def added(down, up):
    """B A, by its indices."""
    if down.dim() == 2:
        return torch.einsum("or,ri->oi", up, down)
    return torch.einsum("or,rihw->oihw", up[:, :, 0, 0], down)


def in_diffusers(name, down, up, alpha):
    return {f"unet.{name}.lora_A.weight": down, f"unet.{name}.lora_B.weight": up, f"unet.{name}.alpha": alpha}


def in_diffusers_once(name, down, up, alpha):
    return {
        f"unet.{name}.lora.down.weight": down,
        f"unet.{name}.lora.up.weight": up,
        f"unet.{name}.alpha": alpha,
    }


def in_kohya(name, down, up, alpha):
    flat = "lora_unet_" + name.replace(".", "_")
    return {f"{flat}.lora_down.weight": down, f"{flat}.lora_up.weight": up, f"{flat}.alpha": alpha}


def in_the_first_code(name, down, up, alpha):
    return in_kohya(original_name(name, 1, [name]), down, up, alpha)


NAMINGS = [in_diffusers, in_diffusers_once, in_kohya, in_the_first_code]


@pytest.fixture
def weights(saved):
    pipeline, _ = saved("stable_diffusion")
    return dict(pipeline.unet.named_parameters())


def write(path, weights, naming, names=(LINEAR, SMALL, WIDE), alpha=3.0):
    """A file, and what each layer should become at scale 1."""
    held, expected = {}, {}
    for seed, name in enumerate(names):
        weight = weights[name + ".weight"]
        down, up = factors(weight, seed)
        held |= naming(name, down, up, torch.tensor(alpha))
        expected[name + ".weight"] = alpha / RANK * added(down, up)
    save_file(held, path)
    return expected


@pytest.mark.parametrize("naming", NAMINGS)
def test_every_naming_changes_the_layers_it_names_and_no_others(saved, weights, tmp_path, naming):
    model = perrin.load(saved("stable_diffusion")[1])
    expected = write(tmp_path / "one.safetensors", weights, naming)
    made = model.with_lora(tmp_path / "one.safetensors", 0.5)
    for name, weight in made.denoiser.net.net.named_parameters():
        wanted = weights[name] + 0.5 * expected.get(name, torch.zeros(()))
        assert torch.allclose(weight, wanted, atol=1e-5), name
    for name, weight in model.denoiser.net.net.named_parameters():
        assert torch.equal(weight, weights[name])
    shared = made.denoiser.net.net.conv_in.weight.data_ptr()
    assert shared == model.denoiser.net.net.conv_in.weight.data_ptr()
    assert made.hash != model.hash


@pytest.mark.parametrize("start", ["text_encoder.text_model.", "text_encoder.", "lora_te_text_model_"])
def test_text_encoders(saved, tmp_path, start):
    pipeline, folder = saved("stable_diffusion")
    down, up = factors(pipeline.text_encoder.get_parameter(QUERY + ".weight"), 1)
    kohya = start.startswith("lora")
    name = start + (QUERY.replace(".", "_") if kohya else QUERY)
    ends = ("lora_down", "lora_up") if kohya else ("lora_A", "lora_B")
    save_file({f"{name}.{ends[0]}.weight": down, f"{name}.{ends[1]}.weight": up}, tmp_path / "a.safetensors")
    made = perrin.load(folder).with_lora(tmp_path / "a.safetensors")
    weight = made.codec.text.encoder.get_parameter(QUERY + ".weight")
    assert torch.allclose(
        weight, pipeline.text_encoder.get_parameter(QUERY + ".weight") + up @ down, atol=1e-5
    )


def test_the_picture_is_that_of_a_pipeline_with_merged_weights(saved, weights, tmp_path):
    _, folder = saved("stable_diffusion")
    pipeline = making.seeded(making.stable_diffusion)
    expected = write(tmp_path / "one.safetensors", weights, in_kohya)
    plain = pipeline(PROMPTS, latents=NOISE, height=16, width=16, **ALIKE).images
    for name, change in expected.items():
        pipeline.unet.get_parameter(name).data += 0.7 * change
    merged = pipeline(PROMPTS, latents=NOISE, height=16, width=16, **ALIKE).images
    model = perrin.load(folder).with_lora(tmp_path / "one.safetensors", 0.7)
    found = ours(model, NOISE, chain_plan(model, pipeline), 5.0, prompt=PROMPTS)
    assert abs(found - merged).max() < 1e-3
    assert abs(plain - merged).max() > 1e-2


def test_settings_that_peft_writes_into_the_header(saved, weights, tmp_path):
    down, up = factors(weights[LINEAR + ".weight"], 0)
    held = {f"unet.{LINEAR}.lora_A.weight": down, f"unet.{LINEAR}.lora_B.weight": up}
    said = {"lora_adapter_metadata": json.dumps({"unet.lora_alpha": 8, "unet.r": RANK})}
    save_file(held, tmp_path / "a.safetensors", metadata=said)
    made = perrin.load(saved("stable_diffusion")[1]).with_lora(tmp_path / "a.safetensors")
    wanted = weights[LINEAR + ".weight"] + 4 * added(down, up)
    assert torch.allclose(made.denoiser.net.net.get_parameter(LINEAR + ".weight"), wanted, atol=1e-5)


def test_the_first_names_are_those_that_diffusers_knows(weights, tmp_path):
    names = [
        name.removesuffix(".weight") for name in weights if "attentions" in name and weights[name].dim() > 1
    ]
    held = {}
    for i, name in enumerate(names):
        flat = "lora_unet_" + original_name(name, 1, names).replace(".", "_")
        held[f"{flat}.lora_down.weight"] = torch.full((RANK, 1), float(i))
        held[f"{flat}.lora_up.weight"] = torch.zeros(1, RANK)
    config = making.unet().config
    found, _ = _convert_non_diffusers_lora_to_diffusers(_maybe_map_sgm_blocks_to_diffusers(held, config))
    save_file(found, tmp_path / "a.safetensors")  # by its attention processors, as it did for a time
    back = {part.place: float(part.down[0, 0]) for part in low_ranks(tmp_path / "a.safetensors")}
    assert back == {name.replace(".", "_"): float(i) for i, name in enumerate(names)}


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("conv_in", "input_blocks.0.0"),
        ("down_blocks.0.downsamplers.0.conv", "input_blocks.3.0.op"),
        ("down_blocks.1.resnets.0.conv1", "input_blocks.4.0.in_layers.2"),
        ("mid_block.resnets.1.conv2", "middle_block.2.out_layers.3"),
        ("up_blocks.0.upsamplers.0.conv", "output_blocks.2.2.conv"),
        ("up_blocks.1.upsamplers.0.conv", "output_blocks.5.1.conv"),
        ("up_blocks.2.resnets.2.conv_shortcut", "output_blocks.8.0.skip_connection"),
        ("add_embedding.linear_2", "label_emb.0.2"),
        ("norm", None),
    ],
)
def test_first_names_of_two_layers_a_block_that_attend_in_block_0(name, first):
    assert original_name(name, 2, ["up_blocks.0.attentions.0.proj_in"]) == first


def test_a_model_that_is_cast_leaves_the_other_as_it_is(saved, weights, tmp_path):
    model = perrin.load(saved("stable_diffusion")[1])
    write(tmp_path / "one.safetensors", weights, in_kohya)
    made = model.with_lora(tmp_path / "one.safetensors")
    for part in (made.denoiser, *made.parts):
        part.half()  # in place, as a move to another device is
    assert {w.dtype for part in (model.denoiser, *model.parts) for w in part.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("held", "said"),
    [
        ({"unet.none.to_q.lora_A.weight": (2, 8), "unet.none.to_q.lora_B.weight": (8, 2)}, "'unet.none.*lacks; it has"),
        ({"unet.conv_in.lora_A.weight": (2, 5, 3, 3), "unet.conv_in.lora_B.weight": (8, 2, 1, 1)}, "for another model"),
        ({"unet.conv_in.lora_A.weight": (2, 4, 3, 3)}, "without the up matrix"),
        ({"unet.conv_in.hada_w1_a": (2, 2)}, "LoHa, LoKr and DoRA"),
        ({"lora_te2_a.lora_up.weight": (2, 2), "lora_te2_a.lora_down.weight": (2, 2)}, "text_encoder_2, and this model"),
    ],
)  # fmt: skip
def test_files_that_do_not_fit_are_refused_with_the_first_key(saved, tmp_path, held, said):
    save_file({name: torch.ones(shape) for name, shape in held.items()}, tmp_path / "a.safetensors")
    with pytest.raises(PerrinError, match=said):
        perrin.load(saved("stable_diffusion")[1]).with_lora(tmp_path / "a.safetensors")


def test_files_that_are_none_are_refused(saved, tmp_path):
    model = perrin.load(saved("stable_diffusion")[1])
    (tmp_path / "cut.safetensors").write_bytes(b"no")
    for name, said in (
        ("none.safetensors", "no such file"),
        ("a.pt", "a pickle"),
        ("cut.safetensors", "damaged"),
    ):
        with pytest.raises(PerrinError, match=said):
            model.with_lora(tmp_path / name)
    with pytest.raises(PerrinError, match="finite number, not nan"):
        model.with_lora(tmp_path / "a.safetensors", float("nan"))


def test_the_command_names_it_and_makes_its_pictures_again(saved, weights, tmp_path, capsys):
    folder, file = saved("stable_diffusion")[1], tmp_path / "one.safetensors"
    write(file, weights, in_diffusers)
    told = [
        "sample",
        str(folder),
        "-n",
        "1",
        "--prompt",
        "a cube",
        "--steps",
        "2",
        "--out",
        str(tmp_path / "out"),
    ]
    assert main([*told, "--lora", f"{file}:0.5"]) == 0
    made = next((tmp_path / "out").glob("0*.png"))
    assert main(["repro", str(made)]) == 0
    write(file, weights, in_diffusers, alpha=1.0)
    capsys.readouterr()
    assert main(["repro", str(made)]) != 0
    assert "one.safetensors holds" in capsys.readouterr().err


def test_scales_in_the_command():
    assert scaled("a/b.safetensors:0.5")[1] == 0.5
    assert scaled("a/b.safetensors")[1] == 1.0
    assert scaled("C:b.safetensors")[1] == 1.0
    with pytest.raises(PerrinError, match="FILE:SCALE"):
        scaled("b.safetensors:much")
