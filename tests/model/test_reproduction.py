"""A file made again from its own description: identical at batch one; altered files and other models are noticed."""

import json

import numpy as np
import pytest
from PIL import Image
from tests.model.making import image_model, point_model

from perrin.cli import entry
from perrin.errors import PerrinError
from perrin.kinds.provenance import png_text, read_provenance
from perrin.model import Model
from perrin.reproduction import reproduce
from perrin.sample import Plan


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return image_model().save(tmp_path_factory.mktemp("model") / "m")


def sampled(folder, out, *options):
    assert entry.main(["sample", str(folder), "-n", "4", "--seed", "3", "--out", str(out), *options]) == 0
    return out


def test_a_file_drawn_one_at_a_time_is_made_again_exactly(folder, tmp_path, capsys):
    sampled(folder, tmp_path / "out", "--batch", "1", "--label", "7", "--solver", "dpmpp_sde", "--steps", "3")
    result = reproduce(tmp_path / "out" / "00002_7.png")
    assert result.identical
    assert (result.items, result.largest_difference) == (1, 0)
    assert entry.main(["repro", str(tmp_path / "out" / "00002_7.png")]) == 0
    assert "1 made again, identical" in capsys.readouterr().out


def test_a_grid_is_made_again_as_a_whole(folder, tmp_path):
    result = reproduce(sampled(folder, tmp_path / "grid.png", "--batch", "1"))
    assert result.identical
    assert result.items == 4


def test_a_file_drawn_in_a_batch_is_made_again_within_rounding(folder, tmp_path):
    result = reproduce(sampled(folder, tmp_path / "grid.png"))
    assert result.largest_difference <= result.tolerance == 2


@pytest.mark.parametrize("name", ["points.csv", "points.npy", "points.npz", "points.csv.gz", "points.png"])
def test_arrays_are_made_again(name, tmp_path):
    model = point_model().save(tmp_path / "m")
    assert reproduce(sampled(model, tmp_path / name, "--batch", "1")).identical


def test_a_saved_plan_is_part_of_the_description(folder, tmp_path):
    image_model().sampling.plan("heun", 3).save(tmp_path / "plan.json")
    file = sampled(folder, tmp_path / "grid.png", "--batch", "1", "--plan", str(tmp_path / "plan.json"))
    assert reproduce(file).identical


def test_reuse_of_features_is_part_of_the_description(folder, tmp_path):
    file = sampled(folder, tmp_path / "grid.png", "--batch", "1", "--reuse", "2")
    assert read_provenance(file)["items"][0]["reuse"] == 2
    assert reproduce(file).identical


def test_an_altered_file_is_noticed(folder, tmp_path, capsys):
    sampled(folder, tmp_path / "out", "--batch", "1", "--label", "7")
    file = tmp_path / "out" / "00001_7.png"
    said = read_provenance(file)
    pixels = np.array(Image.open(file))
    pixels[2, 3] ^= 128
    Image.fromarray(pixels).save(file, pnginfo=png_text(said))
    capsys.readouterr()
    assert entry.main(["repro", str(file), "--json"]) == 2
    out, err = capsys.readouterr()
    assert "is not what its own description gives" in err
    assert err.count("\n") == 1
    assert json.loads(out.split("}\n")[0] + "}")["identical"] is False


def test_another_model_in_the_same_place_is_noticed(folder, tmp_path):
    model = image_model()
    model.save(tmp_path / "m")
    file = sampled(tmp_path / "m", tmp_path / "grid.png")
    next(model.denoiser.parameters()).data.add_(0.1)
    model.save(tmp_path / "m")
    with pytest.raises(PerrinError, match=r"was made by weights .* give the right model with --model"):
        reproduce(file)
    assert reproduce(file, model=str(folder)).largest_difference <= 2


def test_a_model_that_has_moved_is_asked_for(tmp_path):
    folder = image_model().save(tmp_path / "m")
    file = sampled(folder, tmp_path / "grid.png")
    folder.rename(tmp_path / "elsewhere")
    with pytest.raises(PerrinError, match="--model"):
        reproduce(file)
    reproduce(file, model=str(tmp_path / "elsewhere"))


def test_a_file_that_says_nothing_of_itself_is_refused(tmp_path):
    Image.new("L", (4, 4)).save(tmp_path / "plain.png")
    with pytest.raises(PerrinError, match="does not say how it was made"):
        reproduce(tmp_path / "plain.png")
    Image.new("L", (4, 4)).save(tmp_path / "other.png", pnginfo=png_text({"items": []}))
    with pytest.raises(PerrinError, match="does not say"):
        reproduce(tmp_path / "other.png")
    with pytest.raises(PerrinError, match="no file"):
        reproduce(tmp_path / "gone.png")


def test_an_animation_is_made_again_frame_by_frame(folder, tmp_path):
    file = sampled(folder, tmp_path / "moving.gif", "--trajectory", "--batch", "1")
    with Image.open(file) as moving:
        assert moving.n_frames == 4
    assert [item["index"] for item in read_provenance(file)["items"]] == [0, 1, 2, 3]
    assert reproduce(file).identical
    assert entry.main(["repro", str(file), "--out", str(tmp_path / "again.gif")]) == 0
    assert (tmp_path / "again.gif").read_bytes() == file.read_bytes()


def test_a_file_of_a_plan_that_no_rule_gives_is_made_again(folder, tmp_path):
    model = Model.load(folder)
    data = model.sampling.plan(steps=3).to_json()
    data["rows"][-1]["matrix"][0] = [0.9 * c for c in data["rows"][-1]["matrix"][0]]  # as a fitted table is
    path = model.sample(1, plan=Plan.from_json(data)).save(tmp_path / "own.png")[0]
    assert reproduce(path).identical
