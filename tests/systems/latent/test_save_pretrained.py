"""A changed pretrained model as a folder that diffusers' own pipeline loads and draws the same from."""

import json

import diffusers
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.systems.latent import making
from tests.systems.latent.comparing import ALIKE, NEGATIVE, NOISE, PROMPTS, chain_plan, ours, picture

import perrin
from perrin.errors import PerrinError

CROSS = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_q"
TEXT = "text_model.encoder.layers.1.self_attn.q_proj"


def low_rank(module, path, name, seed=0):
    """A LoRA of one layer."""
    weight = dict(module.named_parameters())[name + ".weight"]
    generator = torch.Generator().manual_seed(seed)
    return {
        f"{path}.lora_A.weight": torch.randn(2, weight.shape[1], generator=generator),
        f"{path}.lora_B.weight": torch.randn(weight.shape[0], 2, generator=generator),
    }


def text_layer(encoder):
    """Its name in this version of transformers."""
    return next(
        n.removesuffix(".weight")
        for n, _ in encoder.named_parameters()
        if TEXT.split("text_model.")[1] in n and n.endswith("weight")
    )


@pytest.fixture
def lora(saved, tmp_path):
    pipeline, _ = saved("stable_diffusion")
    name = text_layer(pipeline.text_encoder)
    parts = low_rank(pipeline.unet, f"unet.{CROSS}", CROSS)
    parts |= low_rank(pipeline.text_encoder, f"text_encoder.{name}", name, 1)
    save_file(parts, tmp_path / "style.safetensors")
    return tmp_path / "style.safetensors"


def opened(folder, made=None):
    index = json.loads((folder / "model_index.json").read_text())
    assert made is None or index["_class_name"] == made
    pipeline = getattr(diffusers, index["_class_name"]).from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def theirs(pipeline, **more):
    return pipeline(
        PROMPTS, negative_prompt=[NEGATIVE] * 2, latents=NOISE, height=16, width=16, **ALIKE, **more
    ).images


def test_a_merged_lora_is_in_the_folder_that_diffusers_draws_from(saved, lora, tmp_path):
    pipeline, folder = saved("stable_diffusion")
    model = perrin.load(folder).with_lora(lora, 0.7)
    written = model.save(tmp_path / "styled")
    other = opened(written, "StableDiffusionPipeline")
    expected, plan = theirs(other), chain_plan(model, other)
    found = ours(model, NOISE, plan, 5.0, prompt=PROMPTS, negative=NEGATIVE)
    assert np.abs(found - expected).max() < 1e-3
    again = ours(perrin.load(written), NOISE, plan, 5.0, prompt=PROMPTS, negative=NEGATIVE)
    assert np.abs(again - expected).max() < 1e-3
    assert np.abs(found - theirs(pipeline)).max() > 0.01
    for name in ("vae/diffusion_pytorch_model.safetensors", "vae/config.json", "unet/config.json"):
        assert (written / name).read_bytes() == (folder / name).read_bytes()
    before, after = (
        load_file(place / "unet/diffusion_pytorch_model.safetensors") for place in (folder, written)
    )
    assert [name for name in before if not torch.equal(before[name], after[name])] == [f"{CROSS}.weight"]
    card = (written / "README.md").read_text()
    assert "style.safetensors" in card
    assert "scale 0.7" in card
    assert json.loads((written / "perrin.json").read_text())["rewritten"] == ["text_encoder", "unet"]
    assert "changes" not in perrin.load(written).about


def test_an_unchanged_model_is_copied_without_its_pickles(saved, tmp_path):
    _, folder = saved("dit")
    (folder / "vae" / "old.bin").write_bytes(b"x")
    (folder / "LICENSE").write_text("mine")
    try:
        written = perrin.load(folder).save(tmp_path / "again", card="A card of mine.")
    finally:
        (folder / "vae" / "old.bin").unlink()
        (folder / "LICENSE").unlink()
    assert (written / "README.md").read_text() == "A card of mine."
    assert (written / "LICENSE").read_text() == "mine"
    assert not list(written.rglob("*.bin"))
    for file in written.rglob("*.safetensors"):
        assert file.read_bytes() == (folder / file.relative_to(written)).read_bytes()
    assert perrin.load(written).hash == perrin.load(folder).hash


def test_a_controlnet_becomes_a_component(saved, tmp_path):
    pipeline, folder = saved("stable_diffusion")
    with torch.random.fork_rng():
        torch.manual_seed(4)
        net = making.control_net(pipeline.unet, conditioning_embedding_out_channels=(8, 8))
        for parameter in net.parameters():
            parameter.data += 0.05 * torch.randn(parameter.shape)
    net.save_pretrained(tmp_path / "edges")
    model = perrin.load(folder).with_control(tmp_path / "edges")
    other = opened(model.save(tmp_path / "out"), "StableDiffusionControlNetPipeline")
    drawing = picture()
    expected = theirs(other, image=[drawing] * 2, controlnet_conditioning_scale=0.8)
    found = ours(
        model,
        NOISE,
        chain_plan(model, other),
        5.0,
        prompt=PROMPTS,
        negative=NEGATIVE,
        control=drawing,
        control_scale=0.8,
    )
    assert np.abs(found - expected).max() < 1e-3
    plain = perrin.load(tmp_path / "out")
    again = ours(
        plain,
        NOISE,
        chain_plan(model, other),
        5.0,
        prompt=PROMPTS,
        negative=NEGATIVE,
        control=drawing,
        control_scale=0.8,
    )
    assert np.abs(again - expected).max() < 1e-3
    net.save_pretrained(tmp_path / "edges", safe_serialization=True)
    weights = load_file(tmp_path / "edges/diffusion_pytorch_model.safetensors")
    save_file({n: v + 1 for n, v in weights.items()}, tmp_path / "edges/diffusion_pytorch_model.safetensors")
    with pytest.raises(PerrinError, match="no longer holds"):
        model.save(tmp_path / "other")


def test_the_precision_of_a_folder_is_kept(saved, lora, tmp_path):
    _, folder = saved("stable_diffusion")
    perrin.load(folder).save(tmp_path / "half")
    for name in ("unet", "text_encoder"):
        file = next((tmp_path / "half" / name).glob("*.safetensors"))
        save_file({n: v.half() for n, v in load_file(file).items()}, file, {"format": "pt"})
    written = perrin.load(tmp_path / "half").with_lora(lora).save(tmp_path / "out")
    found = load_file(written / "unet/diffusion_pytorch_model.safetensors")
    assert {value.dtype for value in found.values()} == {torch.float16}
    kept = load_file(tmp_path / "half/unet/diffusion_pytorch_model.safetensors")
    factors = load_file(lora)
    change = factors[f"unet.{CROSS}.lora_B.weight"] @ factors[f"unet.{CROSS}.lora_A.weight"]
    torch.testing.assert_close(found[f"{CROSS}.weight"], (kept[f"{CROSS}.weight"].float() + change).half())
    rough = perrin.systems.latent.opening.load_pretrained(folder, dtype=torch.bfloat16).with_lora(lora)
    with pytest.raises(PerrinError, match=r"dtype=torch\.float32"):
        rough.save(tmp_path / "rough")
    assert not (tmp_path / "rough").exists()


def test_where_it_must_not_be_written_nothing_is(saved, tmp_path):
    _, folder = saved("stable_diffusion")
    model = perrin.load(folder)
    for place in (folder, folder / "unet" / "new", folder.parent):
        with pytest.raises(PerrinError, match="stays as it is"):
            model.save(place, overwrite=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    for options in ({}, {"overwrite": True}):
        with pytest.raises(PerrinError, match="holds other files"):
            model.save(tmp_path / "mine", **options)
    written = model.save(tmp_path / "out")
    (written / "stray").write_text("x")
    with pytest.raises(PerrinError, match="--overwrite"):
        model.save(written)
    assert (written / "stray").exists()
    model.save(written, overwrite=True)
    assert not (written / "stray").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "out"]


@pytest.mark.parametrize("change", ["seamless", "tiled"])
def test_changes_that_no_configuration_says_are_refused(saved, tmp_path, change):
    model = getattr(perrin.load(saved("stable_diffusion")[1]), change)()
    with pytest.raises(PerrinError, match=f"changed by '{change}' cannot be saved"):
        model.save(tmp_path / "out")
    with pytest.raises(PerrinError, match="keeps the precision"):
        perrin.load(saved("stable_diffusion")[1]).save(tmp_path / "out", half=True)


def test_a_controlnet_that_no_pipeline_has_beside_it_is_refused(saved, tmp_path):
    model = perrin.load(saved("stable_diffusion_3")[1])
    model.about["changes"] = [{"control": "a", "hash": "x"}]
    with pytest.raises(PerrinError, match="beside a StableDiffusion3Pipeline cannot be saved"):
        model.save(tmp_path / "out")


def test_the_command_merges_and_exports(saved, lora, tmp_path, capsys):
    from perrin.cli.entry import main

    folder = str(saved("stable_diffusion")[1])
    assert main(["export", folder, "--lora", f"{lora}:0.7", "--out", str(tmp_path / "out"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    model = perrin.load(folder).with_lora(lora, 0.7)
    assert told["hash"] == model.hash == perrin.load(tmp_path / "out").hash
    assert main(["export", folder, "--out", folder]) == 2
    assert "stays as it is" in capsys.readouterr().err


def test_a_component_whose_weights_are_pickles_is_left_out(saved, tmp_path):
    """As the safety checkers of many folders are; the pipeline draws as well without."""
    import shutil

    _, folder = saved("stable_diffusion")
    shutil.copytree(folder, tmp_path / "there")
    index = json.loads((folder / "model_index.json").read_text())
    index["safety_checker"] = ["stable_diffusion", "StableDiffusionSafetyChecker"]
    index["feature_extractor"] = ["transformers", "CLIPImageProcessor"]  # which was not downloaded
    index["requires_safety_checker"] = True
    (tmp_path / "there" / "model_index.json").write_text(json.dumps(index))
    (tmp_path / "there" / "safety_checker").mkdir()
    (tmp_path / "there" / "safety_checker" / "pytorch_model.bin").write_bytes(b"x")
    pipeline = opened(perrin.load(tmp_path / "there").save(tmp_path / "out"), "StableDiffusionPipeline")
    assert pipeline.safety_checker is None
    assert pipeline.feature_extractor is None
    assert not pipeline.config.requires_safety_checker
    assert not (tmp_path / "out" / "safety_checker").exists()


def test_weights_that_visit_a_device_are_saved_from_home(saved, lora, tmp_path):
    _, folder = saved("stable_diffusion")
    model = perrin.load(folder, offload="layers").with_lora(lora)
    written = model.save(tmp_path / "out")
    assert perrin.load(written).hash == perrin.load(folder).with_lora(lora).hash


def test_a_run_is_not_replaced(saved, tmp_path):
    (tmp_path / "run").mkdir()
    for name in ("recipe.yaml", "model.json"):
        (tmp_path / "run" / name).write_text("x")
    with pytest.raises(PerrinError, match="holds a run"):
        perrin.load(saved("dit")[1]).save(tmp_path / "run", overwrite=True)
