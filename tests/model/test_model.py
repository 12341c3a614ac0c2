"""A model saved and loaded is the same model; what is damaged, foreign or a pickle is refused by name."""

import json

import pytest
import torch
from tests.model.making import image_model, point_model

import perrin
from perrin.errors import PerrinError
from perrin.model import Model


@pytest.mark.parametrize("make", [image_model, point_model])
def test_a_model_saved_and_loaded_is_exactly_the_same(make, tmp_path):
    model = make(interval=(-2.0, 5.0))
    again = perrin.load(model.save(tmp_path / "m", card="# card\n"))
    assert again.hash == model.hash
    assert again.design == model.design
    assert again.sampling == model.sampling
    assert again.codec == model.codec
    assert again.about == model.about
    assert again.sample(3, seed=5).state.equal(model.sample(3, seed=5).state)
    assert sorted(p.name for p in (tmp_path / "m").iterdir()) == [
        "README.md",
        "model.json",
        "model.safetensors",
    ]


def test_half_precision_is_half_the_size_and_nearly_the_same(tmp_path):
    model = image_model()
    whole, half = model.save(tmp_path / "whole"), model.save(tmp_path / "half", half=True)
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (whole, half)]
    assert sizes[1] < 0.7 * sizes[0]
    again = perrin.load(half)
    assert {v.dtype for v in again.denoiser.state_dict().values()} == {torch.float32}
    assert again.hash != model.hash
    assert again.sample(4).state == pytest.approx(model.sample(4).state, abs=0.05)


@pytest.mark.parametrize("half", [False, True])
def test_the_header_of_the_weights_holds_the_hash_that_the_loaded_model_has(half, tmp_path):
    from safetensors import safe_open

    folder = image_model().save(tmp_path / "m", half=half)
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        assert file.metadata()["perrin"] == perrin.load(folder).hash


def test_one_changed_weight_is_another_hash():
    model, other = image_model(), image_model()
    next(other.denoiser.parameters()).data.view(-1)[0] += 1e-6
    assert Model(other.design, other.denoiser, other.codec, other.sampling).hash != model.hash


@pytest.mark.parametrize("name", ["model.pt", "old/weights.bin", "optimizer.pkl", "x.CKPT"])
def test_a_folder_with_a_pickle_in_it_is_refused(name, tmp_path):
    folder = image_model().save(tmp_path / "m")
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"\x80\x04.")
    with pytest.raises(PerrinError, match=f"{name} may be a pickle, which runs code"):
        perrin.load(folder)


def test_a_pickle_under_the_name_of_safetensors_is_not_run(tmp_path):
    import os
    import pickle

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "owned"),)

    folder = image_model().save(tmp_path / "m")
    (folder / "model.safetensors").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(PerrinError, match="cut short or damaged"):
        perrin.load(folder)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("keep", [0, 7, 100, -1])
def test_weights_cut_short_are_refused(keep, tmp_path):
    folder = image_model().save(tmp_path / "m")
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(PerrinError, match=r"model\.safetensors is cut short or damaged"):
        perrin.load(folder)


def test_weights_of_another_network_are_refused(tmp_path):
    folder, other = image_model().save(tmp_path / "m"), point_model().save(tmp_path / "p")
    (other / "model.safetensors").replace(folder / "model.safetensors")
    with pytest.raises(PerrinError, match="these are the weights of another network"):
        perrin.load(folder)


def changed(content, path, value):
    """JSON with one value replaced, or removed."""
    *above, last = path.split(".")
    for key in above:
        content = content[key]
    if value is None:
        del content[last]
    else:
        content[last] = value


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("version", 99, "has version 99; this Perrin reads version 1"),
        ("net", None, "is damaged"),
        ("net.name", "unett", "did you mean 'unet'"),
        ("codec.kind", "imagez", "did you mean 'images'"),
        ("sampling.solvr", "ddim", "is damaged"),
    ],
)
def test_a_description_that_was_altered_is_one_line(path, value, says, tmp_path):
    folder = image_model().save(tmp_path / "m")
    content = json.loads((folder / "model.json").read_text())
    changed(content, path, value)
    (folder / "model.json").write_text(json.dumps(content))
    with pytest.raises(PerrinError, match=says):
        perrin.load(folder)


def test_a_description_cut_short_is_one_line(tmp_path):
    folder = image_model().save(tmp_path / "m")
    (folder / "model.json").write_text((folder / "model.json").read_text()[:50])
    with pytest.raises(PerrinError, match="is damaged"):
        perrin.load(folder)


def test_what_is_no_model_says_so(tmp_path):
    with pytest.raises(PerrinError, match=r"it has no model\.json"):
        perrin.load(tmp_path)
    (tmp_path / "model.json").write_text("{}")
    with pytest.raises(PerrinError, match="is a file; give the model's folder"):
        perrin.load(tmp_path / "model.json")
    with pytest.raises(PerrinError, match="no such folder"):
        perrin.load(tmp_path / "gone")


def test_a_slip_in_a_path_is_not_a_question_to_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    with pytest.raises(PerrinError, match="no model at 'runs/digitz': no such folder"):
        perrin.load("runs/digitz")


def test_a_name_alone_is_that_of_a_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = point_model()
    model.save("runs/points")
    assert perrin.load("points").hash == model.hash
    with pytest.raises(PerrinError, match="no model at 'pints': no such folder"):
        perrin.load("pints")
