"""Plans fitted to a model: kept in its folder, taken when steps and guidance match, named when they do not."""

import json
import warnings

import pytest
import torch
from tests.model.making import image_model, point_model

import perrin
from perrin.cli import entry
from perrin.errors import PerrinError
from perrin.fitted import PLANS, path_of
from perrin.learn.history_table import HistoryTable
from perrin.model import Model

FEW = {"seeds": 48, "starts": 1}


def smooth_model():
    """Points by a network gentle enough for three evaluations."""
    model = point_model()
    with torch.no_grad():
        for parameter in model.module.parameters():
            parameter.mul_(0.5)
    return Model(model.design, model.module, model.codec, model.sampling)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = smooth_model().save(tmp_path_factory.mktemp("points") / "model")
    assert perrin.tune(perrin.load(folder), 3, **FEW).helped
    return folder


def shaken(model, evaluations, **facts):
    """A plan that might have been fitted to this model."""
    table = HistoryTable.of(model.sampling.plan("dpmpp_2m", evaluations))
    moved = table.replaced(table.vector() + 0.01)
    return moved.plan({"model": model.hash, "guidance": 1.0, "interval": None, **facts})


def test_the_fitted_plan_is_taken_when_the_steps_match_and_no_solver_is_asked_for(folder):
    model = perrin.load(folder)
    fitted = model.sample(4, steps=3)
    assert fitted.provenance[0]["plan"]["rule"] == "tuned"
    assert fitted.provenance[0]["plan"]["fitted"]["model"] == model.hash
    assert model.sample(4, steps=4).provenance[0]["plan"]["rule"] == "dpmpp_2m"
    rule = model.sample(4, steps=3, solver="dpmpp_2m")
    assert rule.provenance[0]["plan"]["rule"] == "dpmpp_2m"
    assert not torch.allclose(rule.state, fitted.state)


def test_it_is_nearer_to_the_fine_solution_than_the_plan_it_started_from(folder):
    model = perrin.load(folder)
    fine = model.sample(200, steps=400, solver="dpmpp_3m", seed=9).state
    fitted, rule = (
        (model.sample(200, steps=3, seed=9, solver=solver).state - fine).square().mean(1).median()
        for solver in (None, "dpmpp_2m")
    )
    assert float(fitted) < float(rule)


def test_other_weights_are_warned_of_and_the_plan_is_left(folder, tmp_path):
    other = perrin.load(folder)
    with torch.no_grad():
        next(other.module.parameters()).add_(0.1)
    changed = Model(other.design, other.module, other.codec, other.sampling).save(tmp_path / "other")
    path_of(changed / PLANS, 3).parent.mkdir()
    path_of(changed / PLANS, 3).write_text(path_of(folder / PLANS, 3).read_text())
    model = perrin.load(changed)
    with pytest.warns(
        UserWarning, match=f"tuned for model {perrin.load(folder).hash}, and this is model {model.hash}"
    ):
        drawn = model.sample(2, steps=3)
    assert drawn.provenance[0]["plan"]["rule"] == "dpmpp_2m"


def test_another_guidance_is_warned_of_with_both_named(tmp_path):
    made = image_model()
    model = perrin.load(made.save(tmp_path / "model"))
    path_of(tmp_path / "model" / PLANS, 3).parent.mkdir()
    shaken(model, 3, guidance=2.0).save(path_of(tmp_path / "model" / PLANS, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert model.sample(1, steps=3).provenance[0]["plan"]["rule"] == "tuned"  # its own guidance is 2
    with pytest.warns(UserWarning, match="under guidance 2, and this is guidance 1.5"):
        assert model.sample(1, steps=3, guidance=1.5).provenance[0]["plan"]["rule"] == "dpmpp_2m"
    with pytest.warns(
        UserWarning, match=r"under guidance 2, and this is guidance 1; it is used all the same"
    ):
        drawn = model.sample(1, plan=shaken(model, 3, guidance=2.0), guidance=1.0)
    assert drawn.provenance[0]["plan"]["rule"] == "tuned"


def test_a_file_of_a_fitted_plan_can_be_made_again_when_the_plan_is_gone(folder, tmp_path):
    model = perrin.load(folder)
    drawn = model.sample(2, steps=3, batch=1)
    from perrin.sample import Plan

    plan = Plan.from_recipe(json.loads(json.dumps(drawn.provenance[1]["plan"])))
    assert model.sample(2, plan=plan, batch=1).state.equal(drawn.state)


def test_the_command_writes_the_plan_and_says_so(folder, tmp_path, capsys):
    words = ["tune", folder, "--steps", 3, "--seeds", 48, "--starts", 1, "--out", tmp_path / "plan.json"]
    assert entry.main([str(w) for w in words]) == 0
    out = capsys.readouterr().out
    assert "error on unseen seeds: median" in out
    assert f"--plan {tmp_path / 'plan.json'}" in out
    assert entry.main([*(str(w) for w in words), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["helped"]
    assert facts["median"][1] < facts["median"][0]


def test_the_command_sample_says_that_it_took_a_fitted_plan_or_in_one_line_why_not(folder, tmp_path, capsys):
    words = ["sample", str(folder), "-n", "2", "--out", str(tmp_path / "points.npy"), "--steps"]
    assert entry.main([*words, "3"]) == 0
    assert "by a plan that was tuned for them" in capsys.readouterr().out
    assert entry.main([*words, "4"]) == 0
    assert "tuned" not in capsys.readouterr().out
    plan = json.loads(path_of(folder / PLANS, 3).read_text())
    (tmp_path / "other.json").write_text(json.dumps(plan | {"fitted": plan["fitted"] | {"model": "abc"}}))
    with pytest.warns(UserWarning, match="tuned for model abc") as caught:
        assert entry.main([*words[:-1], "--plan", str(tmp_path / "other.json")]) == 0
    ours = next(w for w in caught if "abc" in str(w.message))
    line = entry.warning_line(ours.message, ours.category, ours.filename, ours.lineno)
    assert line == (
        f"perrin: the plan was tuned for model abc, and this is model {perrin.load(folder).hash}; "
        "it is used all the same\n"
    )
    assert "elsewhere.py:3" in entry.warning_line("x", UserWarning, "elsewhere.py", 3)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--steps", "1"), "steps = 1"),
        (("--seeds", "1"), "seeds = 1"),
        (("--guidance", "nan", "--steps", "0"), "steps = 0"),
    ],
)
def test_the_command_refuses_in_one_line(folder, capsys, words, says):
    assert entry.main(["tune", str(folder), *words]) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("perrin: ")
    assert says in line


def test_a_damaged_plan_is_one_clear_line(folder, tmp_path):
    copy = perrin.load(folder).save(tmp_path / "copy")
    path_of(copy / PLANS, 5).parent.mkdir()
    path_of(copy / PLANS, 5).write_text(path_of(folder / PLANS, 3).read_text())
    with pytest.raises(PerrinError, match=r"5\.json takes 3 evaluations, not 5"):
        perrin.load(copy).sample(1, steps=5)


def test_the_plan_of_a_model_with_classes_says_the_guidance_that_it_was_fitted_under(tmp_path, monkeypatch):
    asked = {}

    def fit(plan, denoiser, **options):
        asked.update(options, denoiser=denoiser)
        moved = HistoryTable.of(plan)
        return moved.replaced(moved.vector()).plan({"guidance": 1.0, **options["facts"]})

    monkeypatch.setattr("perrin.fitting.fit", fit)
    model = perrin.load(image_model().save(tmp_path / "model"))  # guided by 2
    assert perrin.tune(model, 3).plan.fitted["guidance"] == 2.0
    assert asked["denoiser"].weight == 2.0
    assert asked["condition"]["label"].tolist() == list(range(10))
    assert perrin.tune(model, 3, guidance=1.0).plan.fitted["guidance"] == 1.0


def test_a_model_without_a_folder_must_be_told_where(tmp_path):
    with pytest.raises(PerrinError, match="no folder to keep the plan in"):
        perrin.tune(point_model(), 3, **FEW)
    assert perrin.tune(smooth_model(), 3, out=tmp_path / "plan.json", **FEW).path == tmp_path / "plan.json"
