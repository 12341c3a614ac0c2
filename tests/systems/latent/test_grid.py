"""`perrin sample FOLDER --grid`: many prompts through mixed batches, single pictures and a sheet of them."""

import json

import numpy as np
import pytest
from PIL import Image
from tests.systems.latent.comparing import picture

from perrin.cli.entry import main
from perrin.kinds.provenance import read_provenance

PROMPTS = """# a comment
a red cube
a ball --negative blurry, dark --guidance 3 --steps 3 --solver heun

a cone --seed 40
"""


@pytest.fixture(scope="module")
def drawn(saved, tmp_path_factory):
    """(folder of the model, folder of what was drawn)."""
    place = tmp_path_factory.mktemp("grid")
    (place / "prompts.txt").write_text(PROMPTS)
    folder = str(saved("stable_diffusion")[1])
    told = ["--grid", str(place / "prompts.txt"), "-n", "2", "--seed", "7", "--steps", "2", "--out"]
    assert main(["sample", folder, *told, str(place / "sheet.png")]) == 0
    return folder, place


def test_every_prompt_has_a_picture_of_every_seed(drawn):
    names = sorted(file.name for file in (drawn[1] / "sheet").iterdir())
    assert names == [
        "00001_a-red-cube_seed-7.png", "00001_a-red-cube_seed-8.png", "00002_a-ball_seed-7.png",
        "00002_a-ball_seed-8.png", "00003_a-cone_seed-40.png", "00003_a-cone_seed-41.png",
    ]  # fmt: skip
    made = read_provenance(drawn[1] / "sheet" / "00002_a-ball_seed-8.png")
    assert (made["plan"]["rule"], len(made["plan"]["grid"]), made["guidance"]) == ("heun", 4, 3.0)
    assert (made["seed"], made["index"], made["wanted"]["negative"]) == (8, 0, "blurry, dark")
    plain = read_provenance(drawn[1] / "sheet" / "00001_a-red-cube_seed-7.png")
    assert "negative" not in plain["wanted"]
    assert (plain["plan"]["rule"], plain["guidance"]) == ("dpmpp_2m", 7.5)
    with Image.open(drawn[1] / "sheet" / "00002_a-ball_seed-8.png") as picture:
        assert "Steps: 3, Sampler: Heun" in picture.info["parameters"]


def test_a_picture_is_the_one_that_its_line_gives_alone(drawn, tmp_path):
    told = [
        "--prompt",
        "a ball",
        "--negative",
        "blurry, dark",
        "--guidance",
        "3",
        "--steps",
        "3",
        "--seed",
        "8",
    ]
    told += ["--solver", "heun", "-n", "1", "--out", str(tmp_path / "one.png")]
    assert main(["sample", drawn[0], *told]) == 0
    with (
        Image.open(tmp_path / "one.png") as one,
        Image.open(drawn[1] / "sheet" / "00002_a-ball_seed-8.png") as two,
    ):
        assert np.abs(np.asarray(one, np.int64) - np.asarray(two)).max() <= 1
    assert main(["repro", str(drawn[1] / "sheet" / "00003_a-cone_seed-41.png")]) == 0


def test_the_sheet_says_how_all_were_made(drawn, capsys):
    items = read_provenance(drawn[1] / "sheet.png")["items"]
    assert [one["seed"] for one in items] == [7, 8, 7, 8, 40, 41]
    with Image.open(drawn[1] / "sheet.png") as sheet:
        assert sheet.width > 260 + 2 * 128
        assert sheet.height > 3 * 128
    capsys.readouterr()
    assert main(["repro", str(drawn[1] / "sheet.png")]) == 2
    assert "the single ones" in capsys.readouterr().err


def test_rows_and_columns_say_which_seed():
    from perrin.cli.prompt_grid import _column_labels, _row_labels
    from perrin.cli.prompt_lines import line

    lines = [line("a cube"), line("a ball --guidance 3 --seed 40")]
    assert _column_labels([7, 7], 3) == ["seed 7", "seed 8", "seed 9"]
    assert _row_labels(lines[:1] * 2, [7, 7]) == [("a cube", "")] * 2
    assert _column_labels([7, 40], 3) == ["seed", "seed + 1", "seed + 2"]
    assert _row_labels(lines, [7, 40]) == [("a cube", "seed 7"), ("a ball", "guidance 3\nseed 40")]


def test_a_folder_gets_all_of_it(drawn, tmp_path, capsys):
    told = [
        "--grid",
        str(drawn[1] / "prompts.txt"),
        "-n",
        "1",
        "--steps",
        "1",
        "--out",
        str(tmp_path / "out"),
    ]
    capsys.readouterr()
    assert main(["sample", drawn[0], *told, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["files"][0] == str(tmp_path / "out" / "sheet.png")
    assert len(list((tmp_path / "out").iterdir())) == len(facts["files"]) == 4


@pytest.mark.parametrize(
    ("text", "options", "says"),
    [
        (
            "a\nb --solver dpmpp2m",
            [],
            "prompts.txt, line 2: solver 'dpmpp2m' is not known; did you mean 'dpmpp_2m'",
        ),
        ("a\n\nb --steps 0", [], "prompts.txt, line 3: steps = 0"),
        ("a\nb) c", [], "prompts.txt, line 2: the prompt has ')'"),
        ("a\nb --negative c)", [], "prompts.txt, line 2: "),
        ("a --strength 0.5", [], "give image"),
        ("a\nb --strength 1.5", ["--image", "photo.png"], "prompts.txt, line 2: strength = 1.5 must lie"),
        ("a --seed 1 --sed 2", [], "prompts.txt, line 1: flag '--sed'"),
        ("a", ["--prompt", "b"], "--prompt goes without --grid"),
        ("a", ["--trajectory"], "--trajectory goes without --grid"),
        ("a", ["-n", "0"], "n = 0"),
        ("a", ["--height", "18"], "height = 18 is not a multiple of 4; the nearest is 16"),
        ("a", ["--out", "sheet.jpg"], "saved as .png or into a folder"),
    ],
)
def test_bad_lines_are_named_and_nothing_is_written(saved, tmp_path, capsys, text, options, says):
    (tmp_path / "prompts.txt").write_text(text)
    picture().save(tmp_path / "photo.png")
    options = [str(tmp_path / word) if word == "photo.png" else word for word in options]
    told = [
        "sample",
        str(saved("stable_diffusion")[1]),
        "--grid",
        str(tmp_path / "prompts.txt"),
        "--steps",
        "2",
    ]
    assert main([*told, "--out", str(tmp_path / "out"), *options]) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("perrin: ")]
    assert len(error) == 1
    assert says in error[0]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["photo.png", "prompts.txt"]


def test_a_model_of_no_prompts_takes_no_grid(saved, tmp_path, capsys):
    (tmp_path / "prompts.txt").write_text("a")
    assert main(["sample", str(saved("ddpm")[1]), "--grid", str(tmp_path / "prompts.txt")]) == 2
    assert "--grid is for models of pictures from prompts" in capsys.readouterr().err
    assert main(["sample", str(saved("dit")[1]), "--grid", str(tmp_path / "prompts.txt")]) == 2
    assert "this model knows no texts" in capsys.readouterr().err


def test_a_plan_is_for_all_lines_and_no_line_changes_it(saved, tmp_path, capsys):
    from perrin.process import edm
    from perrin.sample import make_plan

    make_plan("ddim", edm(), steps=3).save(tmp_path / "plan.json")
    (tmp_path / "prompts.txt").write_text("a\nb --steps 4")
    told = ["sample", str(saved("stable_diffusion")[1]), "--grid", str(tmp_path / "prompts.txt"), "-n", "1"]
    told += ["--plan", str(tmp_path / "plan.json"), "--out", str(tmp_path / "out")]
    assert main(told) == 2
    assert "line 2: a plan (--plan) holds its own solver and steps" in capsys.readouterr().err
    (tmp_path / "prompts.txt").write_text("a\nb --guidance 2")
    assert main(told) == 0
    made = [read_provenance(file) for file in sorted((tmp_path / "out").glob("0*.png"))]
    assert [(one["plan"]["rule"], one["guidance"]) for one in made] == [("ddim", 7.5), ("ddim", 2.0)]
