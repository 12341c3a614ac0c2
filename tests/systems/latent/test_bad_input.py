"""Bad input to `perrin sample` of pretrained folders: exit code 2, one line that says what would be right, nothing lost."""

import json
import re
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.systems.latent.comparing import mask, picture

from perrin.cli.entry import main


@pytest.fixture
def folder(saved, tmp_path):
    """A copy of a whole pretrained folder, to be damaged."""
    return shutil.copytree(saved("stable_diffusion")[1], tmp_path / "model")


@pytest.fixture
def fails(tmp_path, capsys):
    """Runs a command line that must fail with one line, and returns the line; what was drawn before stays as it was."""

    def run(place, *words, prompt="a cube"):
        out = tmp_path / "out"
        out.mkdir(exist_ok=True)
        (out / "00000.png").write_bytes(b"drawn before")
        capsys.readouterr()
        told = [] if prompt is None else ["--prompt", prompt]
        assert (
            main(
                ["sample", str(place), *told, "--steps", "1", "-n", "1", "--out", str(out), *map(str, words)]
            )
            == 2
        )
        lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("perrin: ")]
        assert len(lines) == 1
        assert "Traceback" not in lines[0]
        assert [file.name for file in out.iterdir()] == ["00000.png"]
        assert (out / "00000.png").read_bytes() == b"drawn before"
        return lines[0]

    return run


# neither layout


def test_an_empty_folder(fails, tmp_path):
    (tmp_path / "model").mkdir()
    line = fails(tmp_path / "model")
    assert "no model.json, nor the model_index.json" in line
    assert line.endswith("it is empty")


@pytest.mark.parametrize(
    ("name", "says"),
    [("sd.ckpt", "sd.ckpt is a pickle"), ("sd.safetensors", "perhaps a checkpoint in one file")],
)
def test_a_folder_with_a_checkpoint_in_one_file(fails, tmp_path, name, says):
    for file in (name, "a.txt", "b.txt"):
        (tmp_path / "model" / file).parent.mkdir(exist_ok=True)
        (tmp_path / "model" / file).touch()
    line = fails(tmp_path / "model")
    assert f"it holds a.txt, b.txt, {name}" in line
    assert says in line
    assert "from_single_file(FILE).save_pretrained(FOLDER)" in line


def test_checkpoints_in_one_file(fails, tmp_path):
    (tmp_path / "sd.ckpt").write_bytes(b"pickle")
    assert "is a pickle, which can run code when it is read" in fails(tmp_path / "sd.ckpt")
    save_file({"model.diffusion_model.input_blocks.0.0.weight": torch.zeros(1)}, tmp_path / "sd.safetensors")
    line = fails(tmp_path / "sd.safetensors")
    assert "is a checkpoint in one file; a model is a folder: convert it once in diffusers" in line
    names = ("x_embedder.proj.weight", "y_embedder.embedding_table.weight")
    save_file({name: torch.zeros(1) for name in names}, tmp_path / "dit.safetensors")
    assert f"perrin import {tmp_path / 'dit.safetensors'}" in fails(tmp_path / "dit.safetensors")
    save_file({"weight": torch.zeros(1)}, tmp_path / "net.safetensors")
    assert "a file of 1 tensors" in fails(tmp_path / "net.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(b"\x00")
    assert "damaged" in fails(tmp_path / "cut.safetensors")
    (tmp_path / "photo.png").write_bytes(b"")
    assert "is a file; give the model's folder" in fails(tmp_path / "photo.png")


def test_a_lora_is_no_model(fails, tmp_path):
    save_file({"unet.to_q.lora_A.weight": torch.zeros(1, 1)}, tmp_path / "style.safetensors")
    assert f"--lora {tmp_path / 'style.safetensors'}" in fails(tmp_path / "style.safetensors")


@pytest.mark.parametrize(
    ("component", "name"), [("unet", "UNet2DConditionModel"), ("text_encoder", "CLIPTextModel")]
)
def test_one_component_is_named(fails, folder, component, name):
    line = fails(folder / component)
    assert f"is one component, a {name}" in line
    assert "the folder above it, which has model_index.json" in line


def test_a_control_net_is_told_where_it_goes(fails, saved):
    folder = saved("controlled")[1] / "controlnet"
    assert f"perrin sample MODEL --control-net {folder}" in fails(folder)


def test_a_folder_of_folders_names_the_model_in_it(fails, folder):
    assert f"{folder} is one" in fails(folder.parent)


# missing encoder files


@pytest.mark.parametrize(
    ("gone", "says"),
    [
        ("text_encoder", "lacks its text_encoder (no such folder); download the whole repository"),
        ("tokenizer", "lacks its tokenizer"),
        ("text_encoder/model.safetensors", "text_encoder holds no weights"),
        ("text_encoder/config.json", "text_encoder cannot be loaded"),
        ("vae", "lacks its vae"),
        ("scheduler/scheduler_config.json", "scheduler_config.json cannot be read"),
    ],
)
def test_what_is_missing_is_named(fails, folder, gone, says):
    place = folder / gone
    shutil.rmtree(place) if place.is_dir() else place.unlink()
    assert says in fails(folder)


def test_a_tokenizer_without_its_words(fails, folder):
    for file in (folder / "tokenizer").iterdir():
        if file.name != "tokenizer_config.json":
            file.unlink()
    assert "tokenizer lacks its vocabulary (vocab.json and merges.txt)" in fails(folder)


def test_weights_cut_short(fails, folder):
    file = folder / "text_encoder" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    assert "text_encoder" in fails(folder)


def test_weights_of_another_network(fails, folder):
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    held = load_file(file)
    name = next(iter(held))
    save_file({**held, name: torch.zeros(3, 3)}, file, {"format": "pt"})
    assert "unet cannot be loaded" in fails(folder)


# prompts and sizes


@pytest.mark.parametrize("prompt", ["", "   "])
def test_a_prompt_of_no_length(fails, folder, prompt):
    assert "the prompt is empty; say what the picture shows" in fails(folder, prompt=prompt)


def test_no_prompt(fails, folder):
    assert "this model draws what a prompt says; give one" in fails(folder, prompt=None)


@pytest.mark.parametrize(
    ("side", "pixels", "nearest"), [("height", 18, 16), ("width", 30, 32), ("height", 1, 4), ("width", 0, 4)]
)
def test_sizes_that_do_not_divide_name_the_nearest(fails, folder, side, pixels, nearest):
    line = fails(folder, f"--{side}", pixels)
    assert f"{side} = {pixels} is not a multiple of 4; the nearest is {nearest}" in line


# what is put beside the model


def test_a_lora_that_does_not_fit(fails, folder, tmp_path):
    layer = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
    down, up = torch.zeros(2, 99), torch.zeros(8, 2)
    save_file({f"{layer}.lora_A.weight": down, f"{layer}.lora_B.weight": up}, tmp_path / "wide.safetensors")
    assert "does not fit" in fails(folder, "--lora", tmp_path / "wide.safetensors")
    save_file(
        {"unet.none.lora_A.weight": down, "unet.none.lora_B.weight": up}, tmp_path / "other.safetensors"
    )
    assert "a layer that this model's network lacks" in fails(
        folder, "--lora", tmp_path / "other.safetensors"
    )
    (tmp_path / "style.pt").write_bytes(b"pickle")
    assert "is a pickle" in fails(folder, "--lora", tmp_path / "style.pt")
    assert "no such file" in fails(folder, "--lora", tmp_path / "gone.safetensors")


def test_a_mask_of_another_size(fails, folder, tmp_path):
    picture(16).save(tmp_path / "photo.png")
    mask(8).save(tmp_path / "hole.png")
    line = fails(folder, "--image", tmp_path / "photo.png", "--mask", tmp_path / "hole.png")
    assert "the mask is of 8 x 8 pixels, the image of 16 x 16" in line


@pytest.mark.parametrize("where", ["unet", "vae", "text_encoder"])
def test_memory_that_runs_out_says_what_to_lower(fails, folder, monkeypatch, where):
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel

    def full(*told, **named):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    made, name = {
        "unet": (UNet2DConditionModel, "forward"), "vae": (AutoencoderKL, "decode"),
        "text_encoder": (CLIPTextModel, "forward"),
    }[where]  # fmt: skip
    monkeypatch.setattr(made, name, full)
    line = fails(folder)
    assert "not enough memory" in line
    assert re.search(r"height|width|smaller|--\w+|tiles|offload|dtype|shorter", line)


# pickles and code


@pytest.mark.parametrize("suffix", [".bin", ".ckpt", ".pt"])
def test_pickles(fails, folder, suffix):
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    file.rename(file.with_suffix(suffix))
    line = fails(folder)
    assert "a pickle, which can run code when it is read" in line
    assert "safe_serialization=True" in line


@pytest.fixture
def trap(folder):
    """Puts code into every folder that leaves a mark when it is run; whether it was."""
    mark = folder.parent / "was-run"
    for place in (folder, *(inner for inner in folder.iterdir() if inner.is_dir())):
        (place / "mine.py").write_text(
            f"open({str(mark)!r}, 'w').close()\nclass Net: pass\nclass Mine: pass\n"
        )
    return mark


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"_class_name": ["mine", "Mine"]}, "asks for code of its own"),
        ({"_class_name": "mine.Mine"}, "mine.Mine"),
        ({"unet": ["mine", "Net"]}, "the component unet is of 'mine', code that Perrin does not know"),
        ({"unet": ["../unet", "Net"]}, "code that Perrin does not know"),
        ({"unet": ["diffusers", "mine.Net"]}, "mine.Net"),
        ({"unet": ["diffusers", "Net"]}, "class of the unet"),
    ],
)
def test_class_paths_to_code_are_refused_and_nothing_is_run(fails, folder, trap, entry, says):
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | entry))
    assert says in fails(folder)
    assert not trap.exists()


def test_code_that_settings_point_to_is_not_run(folder, trap, tmp_path):
    for file in folder.glob("*/*config.json"):
        said = json.loads(file.read_text())
        paths = dict.fromkeys(("AutoConfig", "AutoModel", "AutoTokenizer", "CLIPTextModel"), "mine.Net")
        file.write_text(
            json.dumps({**said, "auto_map": paths, "trust_remote_code": True, "custom_pipeline": "mine"})
        )
    words = [
        "sample",
        str(folder),
        "--prompt",
        "a",
        "-n",
        "1",
        "--steps",
        "1",
        "--out",
        str(tmp_path / "one.png"),
    ]
    assert main(words) == 0
    assert not trap.exists()


@pytest.mark.parametrize("option", ["--trust-remote-code", "--trust_remote_code"])
def test_there_is_no_option_to_trust_code(fails, folder, option):
    assert option in fails(folder, option)


def test_nothing_in_the_package_trusts_code():
    from pathlib import Path

    import perrin

    for file in Path(perrin.__file__).parent.rglob("*.py"):
        assert "trust_remote_code" not in file.read_text(encoding="utf-8"), file
