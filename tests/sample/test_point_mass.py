"""The first rung: all data are one point, and every rule must keep the noise that the denoiser is told."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from tests.sample.measure import EXACT, STOCHASTIC, Basis, point_at_first_axis

from perrin.denoise import exact
from perrin.errors import PerrinError
from perrin.process import cosine, edm, flow, levels, vp
from perrin.registry import grids, rules, schedules
from perrin.sample import make_plan, run
from perrin.sample.noise import normals, seed_of, seed_tensor

INF = math.inf
GRIDS = {
    "one_step": [-3.0, INF],
    "from_pure_noise": [-INF, -2.0, 1.0, INF],
    "uneven": [-9.0, -8.5, -1.0, 2.0, 2.1, 7.0, 15.0, INF],
    "finite_end": [-4.0, -1.0, 0.5, 3.0, 8.0],
    "clean_enough_to_round": [-10.0, 0.0, 30.0, 60.0, INF],
}


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("rule", rules)
def test_on_a_point_mass_the_noise_is_what_the_denoiser_is_told(rule, grid, monkeypatch):
    """Through the real executor, and not through `Plan.check`: the two must agree."""
    plan = make_plan(rule, grid=GRIDS[grid])
    plan.check()
    basis = Basis(monkeypatch)
    start = plan.grid[0]
    out = basis.run(plan, point_at_first_axis, float(levels.alpha(start)), float(levels.sigma(start)))
    assert len(basis.records) == plan.nfe
    assert [level for level, _ in basis.records] == list(plan.evaluated)
    if not rules[rule].exact_on_point_mass:
        return
    for level, x in [*basis.records, (plan.grid[-1], out)]:
        assert float(x[0]) == pytest.approx(float(levels.alpha(level)), abs=1e-10)
        assert float(x[1:].norm()) == pytest.approx(float(levels.sigma(level)), abs=1e-10)


@pytest.mark.parametrize("grid", grids)
@pytest.mark.parametrize("rule", rules)
def test_every_rule_on_every_grid_of_every_schedule_passes_its_lint(rule, grid):
    for name in schedules:
        schedule = schedules[name](*([[0.999, 0.7, 0.2, 0.01, 0.0]] if name == "discrete" else []))
        for steps in (1, 2, 3, 8):
            plan = make_plan(rule, schedule, steps=steps, grid=grid)
            plan.check()
            assert len(plan.levels) == len(plan.rows) + 1
            assert plan.levels[-1] == INF


@pytest.mark.parametrize("rule", rules)
def test_a_point_comes_out_exactly(rule):
    plan = make_plan(rule, cosine(), steps=9, grid="time")
    x = run(plan, exact.Gaussian(0.3, 0.0), seeds=range(3), shape=(4,), dtype=torch.float64)
    torch.testing.assert_close(x, torch.full_like(x, 0.3), rtol=1e-12, atol=0)


@pytest.mark.parametrize("rule", rules)
def test_declared_evaluations_are_the_counted_ones(rule):
    for grid in GRIDS.values():
        plan, calls = make_plan(rule, grid=grid), []

        def count(x, level, condition=None, calls=calls):
            calls.append(len(x))
            return exact.Gaussian()(x, level)

        run(plan, count, seeds=[1, 2], shape=(2,))
        assert calls == [2] * plan.nfe
        assert plan.nfe == rules[rule].evaluations(grid)


def test_rules_with_one_evaluation_a_step_need_n_for_n_steps():
    single = ["ddim", "euler", "ddpm", "euler_ancestral", "dpmpp_2m", "dpmpp_3m", "dpmpp_2m_sde"]
    for rule in [*single, "unipc_2", "unipc_3", "deis_3", "ab_2", "ab_3", "ab_4"]:
        for schedule, grid in ((vp(), "logsnr"), (edm(), "karras"), (flow(), "time"), (cosine(), "cosine")):
            assert make_plan(rule, schedule, steps=7, grid=grid).nfe == 7
        assert make_plan(rule, grid=[-4.0, 0.0, 4.0]).nfe == 2


def test_euler_is_ddim_under_another_name():
    assert rules["euler"] is rules["ddim"]
    a, b = make_plan("euler", vp(), steps=5), make_plan("ddim", vp(), steps=5)
    assert all(torch.equal(r.matrix, s.matrix) for r, s in zip(a.rows, b.rows, strict=True))


def tampered(plan, index, **changes):
    rows = list(plan.rows)
    rows[index] = dataclasses.replace(rows[index], **changes)
    return dataclasses.replace(plan, rows=tuple(rows))


def other_matrix(row, place, column, value):
    matrix = row.matrix.clone()
    matrix[place, column] = value
    return matrix


@pytest.mark.parametrize("rule", EXACT)
def test_the_lint_finds_a_wrong_level_in_any_row(rule):
    plan = make_plan(rule, vp(), steps=6)
    for index, row in enumerate(plan.rows):
        if row.level is not None:
            with pytest.raises(PerrinError):
                tampered(plan, index, level=row.level + 1e-6).check()
        with pytest.raises(PerrinError):
            tampered(plan, index, base=row.base + 1e-6).check()


@pytest.mark.parametrize("rule", EXACT)
def test_the_lint_finds_a_coefficient_that_is_dropped_or_changed(rule):
    """Those of the state and of what is evaluated next, wherever they matter to more than the lint's resolution."""
    plan = make_plan(rule, vp(), steps=6)
    for index, row in enumerate(plan.rows):
        used = row.matrix[: 1 if index + 1 == len(plan.rows) else 2]
        for place, column in (used.abs() > 1e-3).nonzero().tolist():
            for factor in (0.0, 1.01):
                value = float(row.matrix[place, column]) * factor
                broken = tampered(plan, index, matrix=other_matrix(row, place, column, value))
                with pytest.raises(PerrinError):
                    broken.check()


@pytest.mark.parametrize("rule", STOCHASTIC)
def test_the_lint_finds_noise_that_is_used_twice(rule):
    plan = make_plan(rule, vp(), steps=6)
    having = [i for i, row in enumerate(plan.rows) if row.draws]
    assert len(having) > 1
    first, second = plan.rows[having[0]], plan.rows[having[1]]
    with pytest.raises(PerrinError, match=r"same noise|drawn before"):
        tampered(plan, having[1], draws=(first.draws[0], *second.draws[1:])).check()


def test_the_lint_finds_overlapping_noise_and_noise_outside_the_grid():
    plan = make_plan("ddpm", grid=[-4.0, -1.0, 2.0, 8.0])
    draw = plan.rows[1].draws[0]
    with pytest.raises(PerrinError, match="drawn before"):
        tampered(plan, 1, draws=(dataclasses.replace(draw, start=-2.0),)).check()
    with pytest.raises(PerrinError, match="outside the grid"):
        tampered(plan, 2, draws=(dataclasses.replace(plan.rows[2].draws[0], stop=9.0),)).check()


def test_the_lint_finds_wrong_counts_shapes_and_numbers():
    plan = make_plan("dpmpp_2m", vp(), steps=6)
    row = plan.rows[2]
    wrong = {
        "evaluations": dataclasses.replace(plan, declared=plan.nfe + 1),
        "no rows": dataclasses.replace(plan, rows=()),
        "shape": tampered(plan, 2, matrix=row.matrix[:, 1:]),
        "finite": tampered(plan, 2, matrix=other_matrix(row, 0, 0, math.nan)),
        "clean level": tampered(plan, 2, level=INF),
        "does not ask for": dataclasses.replace(tampered(plan, 2, level=None), declared=None),
        "before it is written": tampered(plan, 0, matrix=other_matrix(plan.rows[0], 0, plan.slots - 1, 1.0)),
        "first level": dataclasses.replace(plan, grid=(-3.0, *plan.grid[1:])),
        "last": dataclasses.replace(plan, grid=(*plan.grid[:-1], 14.0), rows=plan.rows),
    }
    for words, broken in wrong.items():
        with pytest.raises(PerrinError) as caught:
            broken.check()
        assert "\n" not in str(caught.value), words
    for words in ("evaluations", "no rows", "shape", "finite", "clean level", "does not ask for"):
        with pytest.raises(PerrinError, match=words):
            wrong[words].check()
    with pytest.raises(PerrinError, match="before it is written"):
        wrong["before it is written"].check()


def test_the_basis_instrument_would_see_reused_noise(monkeypatch):
    """Guards the instrument: drawing one name twice is one vector."""
    basis = Basis(monkeypatch)
    seed = seed_tensor([seed_of(0, "", "path", -1.0, 1.0, 0)])
    assert torch.equal(basis._normals(seed, (9,)), basis._normals(seed, (9,)))
    assert normals(seed, (9,)).shape == (1, 9)
