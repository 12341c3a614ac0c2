"""Distillation: the exact consistency function is where the loss rests; a student refuses what it does not support."""

import json
import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from tests.training.tiny import assert_identical, points_recipe, write_points

import perrin
from perrin.cli import entry
from perrin.denoise import Prediction, exact, wrap
from perrin.design import Sampling
from perrin.errors import PerrinError
from perrin.learn.consistency_loss import Consistency, follow
from perrin.learn.laws import uniform_level
from perrin.learn.trajectory_loss import PLACES, Trajectory
from perrin.learn.weighting import uniform
from perrin.model import Model
from perrin.process import levels
from perrin.process.levels import expand
from perrin.sample import Trace, make_plan, run
from perrin.training.students import METHODS, teaching_plan
from perrin.training.trajectories import draw_trajectories

MEAN, STD = 0.7, 0.6


def spread(level, std=STD):
    return torch.sqrt(levels.alpha(level) ** 2 * std**2 + levels.sigma(level) ** 2)


class FlowEnd:
    """Where the probability flow of N(mean, std^2) ends: (x - alpha mean) / spread is constant; times `scale`."""

    def __init__(self, std=STD, scale=1.0):
        self.std, self.scale, self.seen = std, scale, []

    def __call__(self, x, level, condition=None):
        self.seen.append(level)
        z = (x - expand(levels.alpha(level), x) * MEAN) / expand(spread(level, self.std), x)
        return Prediction(MEAN + self.scale * self.std * z)


def loss(student, std=STD, law=None, done=0.0, **options):
    """(losses, errors) of 512 items of Gaussian data in two dimensions, float64."""
    made = Consistency(
        exact.Gaussian(MEAN, std), law or uniform_level(-6, 6), uniform(), "squared", **options
    ).at(done)
    clean = MEAN + std * torch.randn(512, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return made(student, clean, None, torch.arange(512))


def test_on_a_point_mass_the_exact_consistency_function_has_no_loss_at_any_gap():
    for done in (0.0, 0.5, 1.0):
        assert float(loss(FlowEnd(std=0.0), std=0.0, done=done).value.max()) < 1e-20


def test_on_gaussian_data_the_loss_of_the_exact_function_falls_with_the_fourth_power_of_the_gap():
    """One step of first order errs by the square of its length, and the loss is the square of that."""
    law = uniform_level(-1, 1)  # far from the clean end, where the flow is smooth over a gap
    values = [float(loss(FlowEnd(), law=law, stages=8, done=k / 8).mean()) for k in (5, 6, 7)]
    for coarse, fine in pairwise(values):
        assert math.log2(coarse / fine) == pytest.approx(4, abs=0.15)


def test_the_exact_function_is_where_the_gradient_vanishes():
    """Along the family of stretched functions; what is stretched everywhere is found out at the clean end."""

    def slope(value):
        scale = torch.tensor(value, dtype=torch.float64, requires_grad=True)
        loss(FlowEnd(scale=scale), law=uniform_level(-6, 10), stages=8, done=1.0).mean().backward()
        return float(scale.grad)

    assert abs(slope(1.0)) < 0.01 * abs(slope(1.3))
    assert slope(0.7) < 0 < slope(1.3)


def test_nothing_is_learned_from_the_target():
    weight = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
    student = FlowEnd(scale=weight)
    made = Consistency(exact.Gaussian(MEAN, STD), uniform_level(), uniform(), "squared")
    x, level = torch.ones(4, 2, dtype=torch.float64), torch.zeros(4, dtype=torch.float64)
    assert not made.target(student, x, level, None).requires_grad


def test_levels_come_closer_in_stages():
    student = FlowEnd()
    ratios = []
    for done in (0.0, 0.24, 0.26, 0.5, 0.99, 1.0):
        student.seen.clear()
        loss(student, law=uniform_level(-3, 3), done=done)
        s, r = student.seen
        ratios.append(float((levels.ratio(r) / levels.ratio(s)).mean()))
    assert ratios == pytest.approx([1 / 2, 1 / 2, 3 / 4, 7 / 8, 15 / 16, 15 / 16])


def test_the_step_of_the_teacher_follows_the_flow_of_a_point_mass():
    x = torch.tensor([[2.0, -1.0]], dtype=torch.float64)
    s, r = (torch.tensor([v], dtype=torch.float64) for v in (-1.0, 2.5))
    mean = torch.full_like(x, MEAN)
    noise = (x - expand(levels.alpha(s), x) * mean) / expand(levels.sigma(s), x)
    there = expand(levels.alpha(r), x) * mean + expand(levels.sigma(r), x) * noise
    assert torch.allclose(follow(x, mean, s, r), there, rtol=1e-14)


def test_the_boundary_condition_is_kept_by_the_parameterisation():
    net = torch.nn.Linear(3, 3)
    student = wrap(lambda x, time, condition: net(x.float()).double(), "edm", sigma_data=0.5)
    x = torch.randn(5, 3, dtype=torch.float64)
    found = student(x, torch.full((5,), math.inf, dtype=torch.float64)).mean
    assert torch.equal(found, x)


def test_every_weight_learns_under_autocast():
    """Older autocast keeps casts of weights: made first for the target, without gradients, they would learn nothing."""
    from perrin.nets.residual_mlp import MLP

    net = MLP([2], width=8, blocks=1)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    made = Consistency(exact.Gaussian(MEAN, STD), uniform_level(-3, 3), uniform())
    with torch.autocast("cpu", torch.bfloat16):
        made(wrap(net), torch.randn(8, 2), None, torch.arange(8)).mean().backward()
    assert all(p.grad is not None and bool((p.grad != 0).any()) for p in net.parameters())


@pytest.mark.parametrize("grid", [[-6.0, math.inf], [-6.0, -1.0, math.inf], [-6.0, -2.0, 0.0, 2.0, math.inf]])
def test_the_law_of_the_output_is_the_data_s_at_any_number_of_evaluations(grid):
    plan = make_plan("consistency", grid=grid)
    plan.check()
    assert plan.nfe == len(grid) - 1
    count, student = 20_000, FlowEnd()
    start = (
        float(spread(-6.0))
        * torch.randn(count, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        + float(levels.alpha(-6.0)) * MEAN
    )
    out = run(plan, student, seeds=range(count), start=start)
    assert float(out.mean()) == pytest.approx(MEAN, abs=4 * STD / count**0.5)
    assert float(out.std()) == pytest.approx(STD, rel=4 / (2 * count) ** 0.5)
    assert len(student.seen) == plan.nfe


FEW = Sampling("consistency", 2, evaluated={1: (-6.0,), 2: (-6.0, 0.0)}, distilled_guidance=1.5)


def test_a_distilled_model_evaluates_where_it_says():
    assert FEW.evaluations == (1, 2)
    assert FEW.plan().evaluated == (-6.0, 0.0)
    assert FEW.plan(steps=1).evaluated == (-6.0,)
    assert Sampling().evaluations is None


def test_what_a_distilled_model_does_not_support_is_refused_in_one_line():
    with pytest.raises(PerrinError, match=r"steps = 7: this model was distilled for 1, 2 evaluations"):
        FEW.plan(steps=7)
    with pytest.raises(PerrinError, match=r"'dpmpp_2m'.*'consistency' alone"):
        FEW.plan("dpmpp_2m")
    with pytest.raises(PerrinError, match=r"guidance = 3.0: .* under guidance 1.5"):
        FEW.weight(3.0)
    assert FEW.weight(None) == FEW.weight(1.5) == 1.0
    assert replace(FEW, distilled_guidance=None, guidance=2.0).weight(None) == 2.0


def test_trajectories_answer_with_their_ends():
    """The exact map from noise to sample has no loss; answering with another item's end has one."""
    steps = torch.linspace(-6, 6, 4, dtype=torch.float64)
    start = torch.randn(64, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    flow = [
        levels.alpha(v) * MEAN + (start - levels.alpha(steps[0]) * MEAN) * spread(v) / spread(steps[0])
        for v in steps
    ]
    end = MEAN + STD * (start - levels.alpha(steps[0]) * MEAN) / spread(steps[0])
    made = Trajectory(tuple(steps.tolist()), first=0.4, metric="squared")
    told = {PLACES: torch.stack(flow, dim=1)}
    losses = made(FlowEnd(), end, told, torch.arange(64), (torch.arange(64).double() + 0.5) / 64)
    assert float(losses.value.max()) < 1e-25
    assert float(made(FlowEnd(), end.roll(1, 0), told, torch.arange(64)).value.min()) > 1e-6
    shares = [float((losses.level == v).double().mean()) for v in steps]
    assert shares == pytest.approx([0.4, 0.2, 0.2, 0.2], abs=0.02)


def test_trajectories_are_those_of_the_guided_teacher(teacher):
    """Solved on from a state in the middle, they end where they are said to end."""
    model = Model.load(teacher)
    plan = teaching_plan(model, 6)
    kept = (plan.grid[0], plan.grid[3])
    drawn = draw_trajectories(model, plan, kept, 24, 50.0, 0, "float32", "cpu")
    assert drawn.states.shape == (24, 3, 2)
    assert drawn.labels.tolist() == [-1 if i % 20 == 19 else i % 2 for i in range(24)]
    ends = run(
        plan,
        model.guided(50.0),
        seeds=range(24),
        start=drawn.states[:, 0].float(),
        condition={"label": drawn.labels},
        trace=(trace := Trace()),
    )
    assert torch.allclose(ends, drawn.states[:, 2].float(), atol=5e-3)  # kept in half precision
    assert torch.allclose(trace.states[2], drawn.states[:, 1].float(), atol=5e-3)
    free = run(
        plan,
        model.denoiser,
        seeds=range(24),
        start=drawn.states[:, 0].float(),
        condition={"label": drawn.labels},
    )
    assert not torch.allclose(free, ends, atol=5e-3)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher")
    return perrin.train(points_recipe(write_points(folder), steps=40), out=folder / "run").folder


def quick(method, **training):
    """Options that distil in a moment."""
    drawn = {"objective": {"teacher": {"trajectories": 40}}} if method == "trajectory" else {}
    return {"method": method, "training": {"steps": 6, "batch": 16, "validation": 8, **training}, **drawn}


@pytest.fixture(scope="module", params=METHODS)
def student(request, teacher):
    return perrin.distill(teacher, out=teacher.parent / request.param, **quick(request.param))


def test_a_student_samples_in_the_evaluations_that_are_counted(student):
    model, calls = student.model, []
    model.module.net.register_forward_hook(lambda net, given, out: calls.append(len(out)))
    for count in model.sampling.evaluations:
        calls.clear()
        drawn = model.sample(3, steps=count)
        assert calls == [3] * count == [3] * drawn.evaluations  # guidance is within: no second branch


def test_a_student_says_where_it_comes_from(student, teacher):
    about = student.model.about
    assert about["teacher_hash"] == Model.load(teacher).hash
    assert about["method"] == student.recipe.objective.name
    assert student.model.sampling.distilled_guidance == 2.0
    assert json.loads((student.folder / "model.json").read_text())["sampling"]["evaluated"].keys() == {
        "1",
        "2",
        "4",
    }


def test_a_student_is_made_again_from_the_file_of_its_sample(student):
    from perrin.reproduction import reproduce

    file = student.model.sample(1, seed=3).save(student.folder / "drawn.npy")[0]
    assert reproduce(file).identical


def test_a_student_predicts_no_mean_and_says_so(student, teacher):
    for ask in (
        lambda m: m.log_prob(torch.zeros(1, 2)),
        lambda m: m.encode(torch.zeros(1, 2)),
        lambda m: m.sample(1, classifier=teacher),
    ):
        with pytest.raises(PerrinError, match="distilled model no longer predicts"):
            ask(student.model)
    with pytest.raises(PerrinError, match="distilled itself"):
        perrin.distill(student.folder, method="consistency", out=student.folder / "again")


@pytest.mark.parametrize("method", METHODS)
def test_a_killed_and_resumed_distillation_is_the_one_that_was_not_killed(method, teacher, tmp_path):
    options = quick(method, steps=8, save_every=3)

    def killing(step, total, note):
        if step == 5:
            raise SystemExit

    perrin.distill(teacher, out=tmp_path / "whole", **options)
    with pytest.raises(SystemExit):
        perrin.distill(teacher, out=tmp_path / "killed", progress=killing, **options)
    perrin.train(tmp_path / "killed", resume=True)
    assert_identical(tmp_path / "whole", tmp_path / "killed")


def test_bad_input_is_one_line_and_exit_code_2(teacher, tmp_path, capsys):
    bare = Model.load(teacher).save(tmp_path / "bare")
    for argv, says in (
        ([str(teacher), "--method", "consistancy"], "did you mean 'consistency'"),
        ([str(tmp_path / "none")], "no such folder"),
        ([str(bare), "--method", "consistency"], "data.path is missing"),
        ([str(teacher), "--steps", "0"], "steps"),
        ([str(teacher), "--set", "objective.teacher.trajectories=1"], "trajectories = 1"),
        (
            [str(teacher), "--set", "objective.teacher.steps=7"],
            "is not on the teacher's trajectories of 7 steps",
        ),
        ([str(teacher), "--set", "objective.stages=0", "--method", "consistency"], "stages = 0"),
        ([str(teacher), "--out", str(teacher)], "holds a run already"),
    ):
        assert entry.main(["distill", *argv]) == 2
        line = capsys.readouterr().err.strip().splitlines()[-1]
        assert line.startswith("perrin: ")
        assert says in line


def test_a_teacher_that_has_changed_is_refused_when_a_run_resumes(teacher, tmp_path):
    import shutil

    moved = tmp_path / "teacher"
    shutil.copytree(teacher, moved)
    run_ = perrin.distill(
        moved, method="consistency", out=tmp_path / "out", training={"steps": 3, "batch": 8}
    )
    other = perrin.train(moved / "recipe.yaml", out=tmp_path / "other", training={"seed": 5, "steps": 4})
    shutil.copy(other.folder / "model.safetensors", moved / "model.safetensors")
    with pytest.raises(PerrinError, match="this run learns from"):
        perrin.train(run_.folder, resume=True)
