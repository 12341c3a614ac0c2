"""Pipelines on a Hub: fetched once, weights in one form alone, never a pickle; through the real client to a stand-in."""

import json
from pathlib import Path

import pytest
from tests.model.test_hub import server  # noqa: F401

import perrin
from perrin.cli.entry import main
from perrin.errors import PerrinError
from perrin.kinds.provenance import read_provenance
from perrin.systems.latent.remote import wanted

CLUTTER = {
    "unet/diffusion_pytorch_model.bin": b"pickle", "unet/diffusion_pytorch_model.fp16.safetensors": b"half",
    "unet/model.onnx": b"onnx", "unet/diffusion_flax_model.msgpack": b"flax", "sd.ckpt": b"pickle",
    "sd-pruned.safetensors": b"whole", "safety_checker/model.safetensors": b"judge", "safety_checker/config.json": b"{}",
    "onnx/unet/model.safetensors": b"deep", "README.md": b"# card", "pictures/sample.png": b"png",
    "unet/code.py": b"import os",
}  # fmt: skip


def on_hub(server, folder, name="someone/cubes", **changed):  # noqa: F811
    """Put a folder on the stand-in, with what such repositories hold besides."""
    files = {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    server.files[name] = {
        path: data for path, data in {**files, **CLUTTER, **changed}.items() if data is not None
    }
    return server.files[name]


def fetched(server):  # noqa: F811
    return {path.split("/", 4)[4] for method, path in server.asked if method == "GET" and "/resolve/" in path}


def test_a_pipeline_of_the_hub_is_a_model(server, saved, tmp_path):  # noqa: F811
    folder = saved("stable_diffusion")[1]
    files = on_hub(server, folder)
    model = perrin.load("someone/cubes")
    here = perrin.load(folder)
    assert model.hash == here.hash
    assert model.sample(prompt="a", steps=1).state.equal(here.sample(prompt="a", steps=1).state)
    own = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
    assert own - fetched(server) <= {".gitattributes"}
    assert fetched(server) - own == {"README.md"}
    assert not [file for file in model.folder.rglob("*") if file.suffix in (".bin", ".ckpt", ".py", ".onnx")]
    server.asked.clear()
    perrin.load("someone/cubes")
    assert not fetched(server)
    assert "unet/diffusion_pytorch_model.safetensors" in files


def test_the_command_line_takes_its_id_and_its_pictures_say_it(server, saved, tmp_path):  # noqa: F811
    on_hub(server, saved("stable_diffusion")[1])
    out = tmp_path / "one.png"
    assert (
        main(["sample", "someone/cubes", "--prompt", "a", "-n", "1", "--steps", "1", "--out", str(out)]) == 0
    )
    assert read_provenance(out)["model"] == "someone/cubes"
    assert main(["repro", str(out)]) == 0


def test_half_precision_is_taken_where_there_is_nothing_else(server, saved, tmp_path):  # noqa: F811
    import torch

    pipeline, folder = saved("stable_diffusion")
    half = tmp_path / "half"
    pipeline.save_pretrained(half, variant="fp16")
    files = {str(file.relative_to(half)): file.read_bytes() for file in half.rglob("*") if file.is_file()}
    server.files["someone/half"] = files
    model = perrin.load("someone/half")
    assert any(path.endswith(".fp16.safetensors") for path in fetched(server))
    told = {"prompt": "a", "steps": 1}
    assert torch.equal(model.sample(**told).state, perrin.load(folder).sample(**told).state)
    assert perrin.load(half).hash == model.hash


def test_pickles_alone_are_refused_before_they_are_fetched(server, saved):  # noqa: F811
    name = "unet/diffusion_pytorch_model"
    on_hub(
        server,
        saved("stable_diffusion")[1],
        **{f"{name}.safetensors": None, f"{name}.fp16.safetensors": None},
    )
    with pytest.raises(
        PerrinError, match=r"someone/cubes/unet on the Hub holds its weights as pickles alone"
    ):
        perrin.load("someone/cubes")
    assert fetched(server) == {"model_index.json"}


def test_a_repository_of_neither_layout_says_what_it_holds(server, capsys):  # noqa: F811
    server.files["someone/file"] = {"sd.ckpt": b"", "README.md": b"", "extra/a.png": b""}
    assert main(["sample", "someone/file", "--prompt", "a"]) == 2
    error = capsys.readouterr().err
    assert (
        "no model.json, nor the model_index.json of a pipeline of diffusers; it holds README.md, sd.ckpt, extra/a.png"
        in error
    )
    assert len([line for line in error.splitlines() if line.startswith("perrin: ")]) == 1


def test_weights_in_parts_are_fetched_with_their_index():
    folder = [
        "model_index.json", "unet/config.json", "unet/diffusion_pytorch_model-00001-of-00002.safetensors",
        "unet/diffusion_pytorch_model-00002-of-00002.safetensors", "unet/diffusion_pytorch_model.safetensors.index.json",
        "unet/diffusion_pytorch_model.fp16-00001-of-00001.safetensors",
        "unet/diffusion_pytorch_model.safetensors.index.fp16.json", "text_encoder/model.fp16.safetensors",
        "text_encoder/model.ema.safetensors", "text_encoder/config.json", "tokenizer/merges.txt", "tokenizer/spiece.model",
    ]  # fmt: skip
    assert set(folder) - set(wanted("a/b", folder)) == {
        "unet/diffusion_pytorch_model.fp16-00001-of-00001.safetensors",
        "unet/diffusion_pytorch_model.safetensors.index.fp16.json", "text_encoder/model.ema.safetensors",
    }  # fmt: skip


def test_a_model_that_was_fetched_is_there_without_the_hub(server, saved, monkeypatch):  # noqa: F811
    import huggingface_hub.constants as constants

    on_hub(server, saved("stable_diffusion")[1])
    first = perrin.load("someone/cubes")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    server.asked.clear()
    assert perrin.load("someone/cubes").hash == first.hash
    assert not server.asked
    assert json.loads((Path(first.folder) / "model_index.json").read_text())["_class_name"]
