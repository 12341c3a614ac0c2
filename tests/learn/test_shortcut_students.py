"""Students that take shortcuts: they are told where each of their steps ends, alone and in any batch."""

import math

import pytest
import torch
from tests.training.tiny import points_recipe, write_points

import perrin
from perrin.cli import entry
from perrin.denoise import wrap
from perrin.denoise.until import CLEAN, UNTIL, next_stop, stops
from perrin.design import Design
from perrin.errors import PerrinError
from perrin.guide import FeatureReuse
from perrin.learn.shortcut_loss import answer
from perrin.process import flow, vp
from perrin.registry import nets
from perrin.sample import run
from perrin.training.distilling import taking_until

TOLD = [name for name in nets if name in ("unet", "dit", "mlp")]


def float64(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_the_next_stop_is_the_lowest_above():
    given = {UNTIL: stops([(-6.0, -2.0, 2.0, math.inf), (-6.0, math.inf), (-6.0,)])}
    assert torch.equal(given[UNTIL][1], float64(-6, math.inf, math.inf, math.inf))
    assert torch.equal(next_stop(float64(-6, -6, -6), given), float64(-2, CLEAN, CLEAN))
    assert torch.equal(next_stop(float64(-2, 0, -9), given), float64(2, CLEAN, -6))
    assert torch.equal(next_stop(float64(1, 2), None), float64(CLEAN, CLEAN))


def stirred(net, seed=0):
    """The network with no weight zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_(0, 0.2, generator=generator)
    return net


def shape_of(name):
    return (2,) if name == "mlp" else (1, 8, 8)


@pytest.mark.parametrize("name", TOLD)
def test_a_network_that_takes_the_end_starts_as_one_that_does_not(name):
    shape = shape_of(name)
    plain, told = stirred(nets[name](shape, classes=3)), nets[name](shape, classes=3, until=True)
    missing = told.load_state_dict(plain.state_dict(), strict=False)
    assert not missing.unexpected_keys
    assert [key.rsplit(".", 2)[-2:] for key in missing.missing_keys] == [["until", "weight"]]
    x, level = torch.randn(4, *shape), float64(-6, -1, 0, 3)
    given = {"label": torch.tensor([0, 1, 2, -1])}
    until = {UNTIL: float64(-2, 0, 5, math.inf)[:, None]}
    assert torch.equal(wrap(told)(x, level, {**given, **until}).mean, wrap(plain)(x, level, given).mean)
    stirred(told)
    one, other = (wrap(told)(x, level, {**given, UNTIL: until[UNTIL] + d}).mean for d in (0.0, 0.5))
    changed = (one != other).flatten(1).any(1)
    assert changed.tolist() == [True, True, True, False]  # an end beyond the clean end is the clean end


class Listening(torch.nn.Module):
    """A network that keeps what it was told."""

    takes_until = True

    def forward(self, x, time, condition):
        self.time, self.until = time, condition[UNTIL]
        return torch.zeros_like(x)


@pytest.mark.parametrize(("output", "schedule"), [("edm", None), ("flow_velocity", flow()), ("v", vp())])
def test_the_end_is_told_on_the_network_s_own_clock(output, schedule):
    net = Listening()
    denoiser, x, r = wrap(net, output, schedule), torch.randn(3, 2), float64(-2, 0, 2)
    denoiser(x, r, {UNTIL: stops([(-9.0, math.inf)] * 3)})
    there = net.time
    denoiser(x, r - 1, {UNTIL: r[:, None]})
    assert net.until.dtype == torch.float32
    assert torch.equal(net.until, there)
    assert not torch.equal(net.time, there)


@pytest.mark.parametrize("name", TOLD)
def test_without_stops_a_step_goes_to_the_clean_end(name):
    denoiser = wrap(stirred(nets[name](shape_of(name), until=True)))
    x, level = torch.randn(3, *shape_of(name)), float64(-6, -1, 3)
    end = answer(denoiser, x, level, torch.full_like(level, math.inf), None)
    assert torch.equal(denoiser(x, level).mean, end)
    assert not torch.equal(answer(denoiser, x, level, level + 1, None), end)


def test_reused_features_are_told_the_end_too():
    denoiser = wrap(stirred(nets["unet"]((1, 8, 8), until=True)))
    x, level = torch.randn(2, 1, 8, 8), float64(-6, -1)
    given = {UNTIL: float64(-2, 0)[:, None]}
    found = FeatureReuse(denoiser, 2)(x, level, {**given, "item": torch.arange(2)}).mean
    assert torch.equal(found, denoiser(x, level, given).mean)


@pytest.mark.parametrize("name", sorted(set(nets) - set(TOLD) - {"encoder"}))
def test_networks_that_cannot_be_told_are_refused_by_name(name):
    with pytest.raises(PerrinError, match=rf"{name}.*unet, dit, mlp can"):
        taking_until(Design({"name": name}, {"name": "edm"}, {}))


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher")
    return perrin.train(points_recipe(write_points(folder), steps=40), out=folder / "run").folder


@pytest.fixture(scope="module")
def student(teacher):
    training = {"steps": 30, "batch": 16, "lr": 0.02, "ema": [0.01]}
    return perrin.distill(teacher, method="shortcut", out=teacher.parent / "student", training=training).model


def test_a_student_s_batch_of_other_numbers_of_steps_is_its_samples_alone(student):
    asked = [1, 4, 2, None, 4]
    mixed = student.sample(5, seed=3, steps=asked).state
    for i, steps in enumerate(asked):
        alone = student.sample(1, seed=3, first=i, steps=steps).state
        assert torch.allclose(mixed[i], alone[0], atol=1e-5)


def test_a_student_s_samples_depend_on_where_its_steps_end(student):
    """Told that every step goes to the clean end, or nothing, the network says something else."""
    plan, drawn = student.plan(steps=4), student.sample(4, seed=3, steps=4)
    given = {"label": torch.arange(4) % 2}
    keys = [(3, i) for i in range(4)]
    told = run(
        plan, student.denoiser, seeds=keys, shape=(2,), condition={**given, UNTIL: stops([plan.grid] * 4)}
    )
    blind = run(plan, student.denoiser, seeds=keys, shape=(2,), condition=given)
    assert torch.equal(drawn.state, told)
    assert not torch.allclose(drawn.state, blind, atol=1e-4)


def test_a_student_declares_its_network_and_its_grid(student):
    assert student.design.net["until"] is True
    assert student.sampling.solver == "ddim"
    assert {n: len(v) for n, v in student.sampling.evaluated.items()} == {1: 1, 2: 2, 4: 4}
    assert student.sampling.evaluated[2] == student.sampling.evaluated[4][::2]


def test_a_finer_grid_is_a_matter_of_the_recipe(teacher, tmp_path):
    grid = [-6.0, -4.0, -2.0, -1.0, 0.0, 1.0, 2.0, 4.0]
    made = perrin.distill(
        teacher,
        method="shortcut",
        out=tmp_path / "run",
        training={"steps": 2, "batch": 8},
        sampling={"evaluated": {1: grid[:1], 2: grid[::4], 4: grid[::2], 8: grid}, "steps": 8},
    )
    assert made.model.sampling.evaluations == (1, 2, 4, 8)
    assert made.model.sample(2).evaluations == 8


def test_bad_input_is_one_line_and_exit_code_2(teacher, capsys):
    for change, says in (
        ("objective.first=0", "first = 0.0"),
        ("objective.levels=[0]", "levels"),
        ("sampling.evaluated.2=[-6.0, 1.0]", "sampling.evaluated.2 must be 2 levels of sampling.evaluated.4"),
        ("sampling.evaluated.3=[-6.0, -2.0, 0.0]", "sampling.evaluated.3 must be 3 levels"),
        ("sampling.evaluated.8=[-6.0, -2.0]", "levels of sampling.evaluated.8"),
    ):
        assert entry.main(["distill", str(teacher), "--method", "shortcut", "--set", change]) == 2
        line = capsys.readouterr().err.strip().splitlines()[-1]
        assert line.startswith("perrin: ")
        assert says in line


def test_the_command_makes_a_student_of_pictures(tmp_path, capsys):
    small = {"net": {"channels": 8, "blocks": 1}, "training": {"steps": 2, "batch": 8, "validation": 8}}
    perrin.train("digits", out=tmp_path / "digits", **small)
    out = str(tmp_path / "fast")
    argv = ["distill", str(tmp_path / "digits"), "--method", "shortcut", "--steps", "3", "--out", out]
    assert entry.main([*argv, "--set", "training.batch=8"]) == 0
    assert "for 1, 2, 4 evaluations" in capsys.readouterr().out
    assert entry.main(["sample", out, "--steps", "4", "-n", "2", "--out", str(tmp_path / "a.png")]) == 0
    assert entry.main(["repro", str(tmp_path / "a.png")]) == 0
