"""Every command on pretrained folders: it works, or says in one line why not and what to do instead."""

import json

import numpy as np
import pytest
from PIL import Image
from tests.systems.latent.test_tune import content

from perrin.cli.entry import main
from perrin.evaluate import beside, states
from perrin.evaluate.feature_classifier import train_classifier
from perrin.evaluate.principal_components import PrincipalComponents
from perrin.kinds.provenance import read_provenance
from perrin.saving import read_json

EVERY = ("ddpm", "dit", "stable_diffusion", "stable_diffusion_3", "deepfloyd")
LATENT = ("dit", "stable_diffusion", "stable_diffusion_3")
TEXTS = ("stable_diffusion", "stable_diffusion_3", "deepfloyd")


@pytest.fixture(scope="module")
def folders(saved):
    """name -> folder; DiT's classes have names, as in the folders of trained ones."""

    def get(name):
        folder = saved(name)[1]
        if name == "dit":
            index = json.loads((folder / "model_index.json").read_text())
            index["id2label"] = {str(i): f"class {i}" for i in range(1000)}
            (folder / "model_index.json").write_text(json.dumps(index))
        return folder

    return get


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder of pictures of two classes, the second of them the lighter one, and a file of prompts."""
    place, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    for light, name in enumerate(("class 3", "class 5")):
        (place / "photos" / name).mkdir(parents=True)
        for i in range(14):
            pixels = rng.integers(100 * light, 100 * light + 120, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(place / "photos" / name / f"{i}.png")
    (place / "prompts.txt").write_text("a dark square\n\na light square\n")
    (place / "table.csv").write_text("time,value\n" + "".join(f"2024-01-{i:02},{i}\n" for i in range(1, 29)))
    return place


@pytest.fixture
def called(capsys):
    """Run a command; gives what it printed, or, where it was refused, its one line."""

    def run(*words, refused=False):
        code = main([str(word) for word in words])
        found = capsys.readouterr()
        lines = [line for line in found.err.splitlines() if line.startswith("perrin: ")]
        assert (code, len(lines)) == ((2, 1) if refused else (0, 0)), found.err
        return lines[0] if refused else found.out

    return run


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Classifiers of features that are trained for a moment, and not kept."""
    monkeypatch.setattr(states, "feature_extractor", _features)


def _features(x, y, seed):
    return PrincipalComponents(x, seed) if y is None else train_classifier(x, y, seed=seed, shown=3200)


@pytest.mark.parametrize("name", EVERY)
def test_a_folder_is_judged_beside_the_users_own_pictures(called, folders, photos, name):
    before = content(folders(name))
    words = ["--prompts", photos / "prompts.txt"] if name in TEXTS else []
    said = called(
        "evaluate",
        folders(name),
        "--data",
        photos / "photos",
        "--steps",
        2,
        "--seed",
        4,
        "-n",
        8,
        *words,
        "--json",
    )
    found = json.loads(said)
    assert found["counts"] == {"generated": 8, "training": 14, "test": 14}
    assert "classifier" not in found["baseline"]
    assert "trained on the real training data" in found["features"]
    for figure in ("precision", "recall", "density", "coverage", "kid", "frechet"):
        assert {f"{figure}_baseline", f"{figure}_ceiling"} <= found.keys()
    assert found["nearest_ratio_ceiling"] == 1
    assert ("class_accuracy_control" in found) == ("class_accuracy_unguided" in found) == (name == "dit")
    place = (
        folders(name).with_name(f"{folders(name).name}.perrin")
        / "evaluation-of-photos-samples-8-seed-4-steps-2"
    )
    assert found["folder"] == str(place)
    assert read_json(place / "metrics.json", "figures")["model_hash"] == found["model_hash"]
    assert "Nearest training items" in (place / "report.html").read_text()
    assert content(folders(name)) == before
    asked = [made.get("wanted", {}) for made in read_provenance(place / "samples.png")["items"]]
    if name in TEXTS:
        assert [one["prompt"] for one in asked] == ["a dark square", "a light square"] * 4
    if name == "dit":
        assert [one["label"] for one in asked] == [3, 5] * 4


def test_figures_are_those_of_real_pictures_where_samples_are(called, folders, photos, monkeypatch):
    """Samples in whose place stand pictures of the classes that were asked for are read as these."""
    judged = beside.judged

    def of_real(case):
        real, labels = states.encoded(case.test, case.model.codec)
        told = [{3: 0, 5: 1}[label] for label in case.options["label"]]
        rows = [int((labels == c).nonzero()[i // 2]) for i, c in enumerate(told)]
        case.drawn.state = real[rows]
        monkeypatch.setattr(states, "_without_guidance", lambda case: None)
        return judged(case)

    monkeypatch.setattr(beside, "judged", of_real)
    said = called(
        "evaluate",
        folders("dit"),
        "--data",
        photos / "photos",
        "--steps",
        1,
        "-n",
        12,
        "--out",
        photos / "real",
        "--json",
    )
    found = json.loads(said)
    assert abs(found["class_accuracy"] - found["class_accuracy_ceiling"]) < 0.15
    assert found["class_accuracy"] > found["class_accuracy_control"] + 0.1
    assert found["copy_share"] < 0.3


def test_pictures_without_classes(called, folders, photos):
    words = ["--data", photos / "photos", "--data", "labels=false", "--steps", 1, "-n", 6, "--json"]
    found = json.loads(
        called("evaluate", folders("dit"), *words, "--label", "class 7", "--out", photos / "a")
    )
    assert "principal components" in found["features"]
    assert "class_accuracy" not in found
    words += ["--prompts", photos / "prompts.txt", "--negative", "wet", "--guidance", 3]
    called("evaluate", folders("stable_diffusion"), *words, "--out", photos / "b")
    made = read_provenance(photos / "b" / "samples.png")["items"]
    assert {(one["guidance"], one["wanted"]["negative"]) for one in made} == {(3.0, "wet")}
    called("import", folders("ddpm"), "--out", photos / "own")
    assert json.loads(called("evaluate", photos / "own", *words[:9]))["folder"].startswith(
        str(photos / "own")
    )


@pytest.mark.parametrize(
    ("name", "words", "said"),
    [
        ("ddpm", [], "does not say what it was trained on: give --data PATH"),
        ("stable_diffusion", ["--data", "photos"], "give --prompts FILE"),
        ("stable_diffusion", ["--data", "photos", "--label", "a"], "in texts, not in classes"),
        ("dit", ["--data", "photos", "--prompts", "prompts.txt"], "are for models of texts, which"),
        ("dit", ["--data", "photos", "--label", "class 3"], "which are asked for in turn"),
        ("ddpm", ["--data", "photos", "-n", "4"], "too few to judge: give at least 6 and 12"),
        ("ddpm", ["--data", "gone"], "no file or folder"),
        ("ddpm", ["--data", "labels=false"], "--data says 0 paths"),
        ("ddpm", ["--data", "photos", "--data", "colour=1"], "colour"),
        ("ddpm", ["--data", "photos", "--filter", "qed=0.5"], "--filter is for runs"),
        ("ddpm", ["--negative", "a"], "--negative goes with --data"),
        ("stable_diffusion", ["--data", "photos", "--prompts", "gone"], "cannot be read"),
    ],
)
def test_what_cannot_be_judged_is_refused(called, folders, photos, monkeypatch, name, words, said):
    monkeypatch.chdir(photos)
    assert said in called("evaluate", folders(name), *words, refused=True)


def test_classes_that_a_model_does_not_know(called, folders, photos):
    other = photos / "other"
    for name in ("cat", "dog"):
        (other / name).mkdir(parents=True)
        for i in range(6):
            Image.new("RGB", (16, 16), (40 * i, 0, 0)).save(other / name / f"{i}.png")
    assert "does not know cat, dog of the data" in called(
        "evaluate", folders("dit"), "--data", other, refused=True
    )
    assert "does not know cat, dog of the data" in called("augment", folders("dit"), other, refused=True)


def test_a_run_has_its_own_data(called, tmp_path):
    (tmp_path / "recipe.yaml").write_text("name: a\n")
    assert "leave --data out" in called("evaluate", tmp_path, "--data", tmp_path, refused=True)


@pytest.mark.parametrize("name", EVERY)
def test_likelihoods(called, folders, photos, name):
    words = ["likelihood", folders(name), photos / "photos", "-n", 2, "--method", "bound", "--samples", 2]
    if name == "ddpm":
        assert "bring it to that shape first" in called(*words, refused=True)
        for i in range(2):
            Image.new("RGB", (8, 8), (90 * i, 0, 0)).save(photos / f"small{i}.png")
        (photos / "small").mkdir()
        for i in range(2):
            (photos / f"small{i}.png").rename(photos / "small" / f"{i}.png")
        words[2] = photos / "small"
        found = json.loads(called(*words, "--json"))
        assert found["items"] == 2
        assert np.isfinite(found["methods"]["bound"]["bits_per_dimension"])
        assert "give DATA" in called("likelihood", folders(name), refused=True)
        return
    why = "latents lose details" if name in LATENT else "a likelihood under prompts is not offered"
    assert why in called(*words, refused=True)
    assert why in called("likelihood", folders(name), refused=True)


def test_sets_are_expanded_by_classes(called, folders, photos):
    words = ["--per-class", 2, "--steps", 1, "--no-measure", "--copies", 0]
    said = called(
        "augment", folders("dit"), photos / "photos", *words, "--out", photos / "more", refused=True
    )
    assert "latents lose details" in said
    assert "give likelihood = 0" in said
    called("augment", folders("dit"), photos / "photos", *words, "--out", photos / "more", "--likelihood", 0)
    found = sorted((photos / "more").rglob("*.png"))
    assert {file.parent.name for file in found} == {"class 3", "class 5"}
    assert len(found) == 4
    for name in TEXTS:
        said = called("augment", folders(name), photos / "photos", *words, refused=True)
        assert "perrin sample --prompt TEXT --out SET/CLASS" in said


@pytest.mark.parametrize("name", EVERY)
def test_pretrained_networks_are_not_trained(called, folders, tmp_path, name):
    folder, out = folders(name), ["--out", tmp_path / "run"]
    for words in (["train", "digits", "--from", folder], ["distill", folder]):
        said = called(*words, *out, refused=True)
        assert f"perrin import {folder} --out MODEL" in said
    assert f"perrin tune {folder} --steps 8" in said
    assert "it has no recipe.yaml to resume" in called("train", "--resume", folder, refused=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", EVERY)
def test_samples_are_made_again(called, folders, tmp_path, name):
    told = ["--prompt", "a cube"] if name in TEXTS else []
    out = tmp_path / "one.png"
    words = ["sample", folders(name), "-n", 1, "--steps", 2, "--out", out, *told]
    guided = ["--guidance", 3, "--interval", -3, 6, "--rescale", 0.5, "--projected"]
    for more in ([], ["--guidance", 2, "--weaker", folders(name)], guided if name != "ddpm" else []):
        called(*words, *more)
        assert "identical" in called("repro", out)
    called(*words[: -1 - len(told)], tmp_path / "one.gif", *told, "--trajectory")
    assert (tmp_path / "one.gif").is_file()
    assert "leave reuse out" in called(*words, "--reuse", 2, refused=True)
    assert "is no classifier of noisy states" in called(*words, "--classifier", folders("dit"), refused=True)


@pytest.mark.parametrize("name", EVERY)
def test_other_kinds_of_work_name_the_models_that_they_are_for(called, folders, photos, tmp_path, name):
    for verb in ("forecast", "impute"):
        words = [verb, photos / "table.csv", "--model", folders(name), "--out", tmp_path / "out"]
        assert "series" in called(*words, refused=True)
    if name in ("ddpm", "dit"):
        called("import", folders(name), "--out", tmp_path / "own")
    else:
        assert "perrin.load opens the others" in called(
            "import", folders(name), "--out", tmp_path / "own", refused=True
        )
    called("export", folders(name), "--out", tmp_path / "copy")
    assert "a plan of one evaluation" in called("tune", folders(name), "--steps", 1, refused=True)
