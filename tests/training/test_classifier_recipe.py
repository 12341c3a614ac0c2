"""A classifier of noisy states trains as any model does, and gives classes to a model that has none."""

import json
import math

import numpy as np
import pytest
import torch
import yaml
from tests.training.tiny import assert_identical, images_recipe, points_recipe, write_images, write_points

import perrin
from perrin.cli import entry
from perrin.errors import PerrinError
from perrin.kinds.provenance import read_provenance
from perrin.learn.classification import Classification, accuracy_at
from perrin.learn.laws import uniform_level
from perrin.model import Model
from perrin.reproduction import reproduce
from perrin.training import recipe as recipes
from perrin.training.setup import prepare, report


class Killed(BaseException):
    """Nothing in the program catches it."""


def classifier_recipe(path, **training):
    """A classifier of the tiny points."""
    content = points_recipe(path, **training)
    del content["sampling"]
    content |= {"name": "classifier", "task": "classifier", "net": {"name": "encoder", "channels": 16}}
    content["objective"] = {"law": {"name": "uniform_level", "low": -10.0, "high": 8.0}}
    return content


def unconditional_recipe(path, **training):
    """Points without their labels."""
    return {**points_recipe(path, **training), "codec": {"labels": False}, "held_out": 20}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """(unconditional model, its classifier), both trained on the same points."""
    folder = tmp_path_factory.mktemp("runs")
    path = write_points(folder, count=300)
    options = {"steps": 300, "batch": 64, "lr": 1e-2, "save_every": 300}
    model = perrin.train(unconditional_recipe(path, **options), out=folder / "model")
    classifier = perrin.train(classifier_recipe(path, **options), out=folder / "classifier")
    return model, classifier


def test_the_objective_is_the_cross_entropy_at_noisy_states_and_leaves_out_what_has_no_label():
    seen = []

    def classifier(x, level):
        seen.append((x, level))
        return torch.stack([x[:, 0], torch.zeros(len(x)), -x[:, 0]], 1)

    clean, label = torch.randn(5, 2), torch.tensor([0, 1, 2, -1, 0])
    objective = Classification(uniform_level(-2.0, 2.0))
    losses = objective(classifier, clean, {"label": label}, torch.arange(5))
    (x, level), *_ = seen
    right = -torch.log_softmax(torch.stack([x[:, 0], 0 * x[:, 0], -x[:, 0]], 1), 1)
    for i in (0, 1, 2, 4):
        assert float(losses.value[i]) == pytest.approx(float(right[i, label[i]]), rel=1e-5)
    assert float(losses.value[3]) == float(losses.error[3]) == 0
    assert torch.equal(losses.level, level)
    again = objective(classifier, clean[2:3], {"label": label[2:3]}, torch.arange(5)[2:3])
    assert torch.equal(again.value, losses.value[2:3])
    with pytest.raises(PerrinError, match="these data have none"):
        objective(classifier, clean, None, torch.arange(5))


def test_a_classifier_resumes_bit_for_bit(tmp_path):
    recipe = classifier_recipe(write_points(tmp_path))
    perrin.train(recipe, out=tmp_path / "whole")

    def kill(done, total, note):
        if done == 8:
            raise Killed

    with pytest.raises(Killed):
        perrin.train(recipe, out=tmp_path / "killed", progress=kill)
    perrin.train(tmp_path / "killed", resume=True)
    assert_identical(tmp_path / "whole", tmp_path / "killed")


def test_a_trained_classifier_knows_the_classes_and_less_of_them_in_more_noise(runs):
    _, run = runs
    states, labels = run_data(run)
    right = [accuracy_at(run.model.classifier, states, labels, level) for level in (6.0, 0.0, -8.0)]
    assert right[0] > 0.95
    assert right[0] > right[1] > right[2]
    assert run.log[-1]["chosen"]["validation"] < 0.5  # of .69, though most of its levels tell nothing


def run_data(run):
    data = prepare(run.recipe).data.train
    batch = run.model.codec.encode([data[i] for i in range(len(data))])
    return batch.state, batch.condition["label"]


def test_a_classifier_gives_its_classes_to_a_model_without(runs):
    model, classifier = (run.model for run in runs)
    assert model.codec.classes is None
    labels = [0, 1] * 50
    own = model.sample(100, steps=8, label="none", classifier=classifier)
    assert torch.equal(own.state, model.sample(100, steps=8).state)
    options = {"solver": "heun", "steps": 20, "classifier": classifier, "guidance": 2.0}
    pushed = model.sample(100, label=labels, **options)
    side = (pushed.state[:, 0] > -float(model.codec.mean[0]) / float(model.codec.std[0])).long()
    assert float((side == torch.tensor(labels)).double().mean()) > 0.9
    by_path = model.sample(2, label=[0, 1], **{**options, "classifier": classifier.folder})
    torch.testing.assert_close(by_path.state, pushed.state[:2], rtol=1e-4, atol=1e-4)


def test_files_say_which_classifier_guided_them_and_are_made_again(runs, tmp_path, capsys):
    model, classifier = (run.folder for run in runs)
    file = tmp_path / "points.npy"
    words = ["sample", str(model), "-n", "3", "--batch", "1", "--steps", "4", "--out", str(file)]
    words += ["--classifier", str(classifier), "--label", "1", "--guidance", "2.5"]
    assert entry.main(words) == 0
    said = read_provenance(file)["items"][0]
    assert said["classifier"] == str(classifier)
    assert said["classifier_hash"] == Model.load(classifier).hash
    assert (said["label"], said["class"], said["guidance"]) == (1, "1", 2.5)
    assert reproduce(file).identical
    capsys.readouterr()
    assert entry.main(["repro", str(file), "--classifier", str(model)]) == 2
    assert "give the right classifier with --classifier" in capsys.readouterr().err
    moved = tmp_path / "moved"
    Model.load(classifier).save(moved)
    assert entry.main(["repro", str(file), "--classifier", str(moved)]) == 0


def test_a_classifier_says_that_it_is_one_and_a_denoiser_that_it_is_not(runs, tmp_path, capsys):
    model, classifier = runs
    assert Model.load(classifier.model.save(tmp_path / "again")).hash == classifier.model.hash
    assert json.loads((tmp_path / "again" / "model.json").read_text())["role"] == "classifier"
    with pytest.raises(PerrinError, match="this model is a classifier of noisy states, which draws nothing"):
        classifier.model.sample(1)
    assert entry.main(["sample", str(classifier.folder)]) == 2
    assert "which draws nothing itself" in capsys.readouterr().err
    with pytest.raises(PerrinError, match="is no classifier of noisy states"):
        model.model.sample(1, classifier=model.model)
    assert "classifier=model" in (classifier.folder / "README.md").read_text()


def test_a_model_folder_from_before_classifiers_still_loads(runs, tmp_path):
    folder = runs[0].model.save(tmp_path / "old")
    content = json.loads((folder / "model.json").read_text())
    del content["role"]
    (folder / "model.json").write_text(json.dumps(content))
    assert Model.load(folder).hash == runs[0].model.hash


def test_a_classifier_of_other_data_is_refused(runs, tmp_path):
    model, classifier = (run.model for run in runs)
    images = classifier_recipe(write_images(tmp_path), steps=2)
    images |= {"kind": "images", "net": {"name": "encoder", "channels": 8, "multipliers": [1, 2]}}
    other = perrin.train(images, out=tmp_path / "run").model
    with pytest.raises(PerrinError, match="classifies other states"):
        model.sample(1, classifier=other)
    held = np.load(write_points(tmp_path))
    np.savez(tmp_path / "far.npz", values=held["values"] * 3 + 1, labels=held["labels"])
    far = perrin.train(classifier_recipe(tmp_path / "far.npz", steps=2), out=tmp_path / "far").model
    with pytest.raises(PerrinError, match="scaling of the data"):
        model.sample(1, classifier=far)
    with pytest.raises(PerrinError, match="class"):
        model.sample(1, classifier=classifier, label=7)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"net": {"name": "mlp"}}, "net 'mlp' does not fit task: classifier"),
        ({"task": "denoiser"}, "net 'encoder' does not fit task: denoiser"),
        ({"data": {"labels": False}}, "task classifier needs data with classes"),
        ({"codec": {"labels": False}}, "task classifier needs data with classes"),
        ({"training": {"sample_every": 5}}, "a classifier draws none"),
        ({"task": "classify"}, "task = 'classify'"),
        ({"objective": {"law": {"name": "uniform_lev"}}}, "did you mean 'uniform_level'"),
    ],
)
def test_what_cannot_be_trained_as_a_classifier_says_why(change, says, tmp_path):
    recipe = recipes.merge(classifier_recipe(write_points(tmp_path)), change)
    with pytest.raises(PerrinError, match=says) as caught:
        prepare(recipes.validate(recipe))
    assert "\n" not in str(caught.value)


def test_the_dry_run_of_a_classifier_starts_from_ignorance(tmp_path):
    facts = report(prepare(recipes.validate(classifier_recipe(write_points(tmp_path)))))
    assert facts["first loss"] == pytest.approx(math.log(2), rel=1e-5)


def test_the_likelihood_weight_takes_the_law_of_its_recipe(tmp_path):
    recipe = points_recipe(write_points(tmp_path))
    recipe["objective"] = {
        "law": {"name": "uniform_level", "low": -2, "high": 3},
        "weight": {"name": "likelihood"},
    }
    objective = prepare(recipes.validate(recipe)).objective
    level = torch.zeros(1, dtype=torch.float64)
    assert float(objective.weight(level)) == pytest.approx(2.5)
    recipe["objective"]["weight"]["law"] = "x"
    with pytest.raises(PerrinError, match="option 'law' is not known"):
        prepare(recipes.validate(recipe))


def test_a_model_without_labels_is_evaluated_in_the_features_of_the_labelled_data(runs, capsys):
    model, classifier = runs
    assert entry.main(["evaluate", str(model.folder), "-n", "20", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert "perceptron" in figures["features"]  # which learns from labels; without, principal components
    assert "class_accuracy" not in figures
    assert math.isfinite(figures["frechet_distance"])
    assert entry.main(["evaluate", str(classifier.folder)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_an_image_model_may_leave_labels_out_and_keep_its_splits(tmp_path):
    recipe = images_recipe(write_images(tmp_path))
    with_labels = prepare(recipes.validate(recipe))
    without = prepare(recipes.validate({**recipe, "codec": {**recipe.get("codec", {}), "labels": False}}))
    assert without.codec.classes is None
    assert without.design.net["classes"] is None
    assert without.data.train.classes == with_labels.data.train.classes
    assert [i["name"] for i in map(without.data.train.__getitem__, range(8))] == [
        i["name"] for i in map(with_labels.data.train.__getitem__, range(8))
    ]
    assert yaml.safe_load(recipes.dump(without.recipe))["codec"]["labels"] is False
