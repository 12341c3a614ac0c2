"""Making, saving and refusing plans: grids, names, options, linearity, files."""

from __future__ import annotations

import inspect
import itertools
import json
import math

import pytest
import torch

from perrin.denoise import exact
from perrin.errors import PerrinError
from perrin.process import cosine, edm, flow, ve, vp
from perrin.registry import grids, rules, schedules
from perrin.sample import Plan, advance, make_plan, run
from perrin.sample.rule import Rule, rule

INF = math.inf


@pytest.mark.parametrize("schedule", [n for n in schedules if n != "discrete"])
@pytest.mark.parametrize("grid", grids)
@pytest.mark.parametrize("steps", [1, 2, 13])
def test_every_grid_of_n_steps_has_n_plus_one_rising_levels_of_which_the_last_is_clean(grid, schedule, steps):
    made = schedules[schedule]()
    found = grids[grid](made, steps).tolist()
    assert len(found) == steps + 1
    assert found[-1] == INF
    assert all(a < b for a, b in itertools.pairwise(found))
    assert all(math.isfinite(v) for v in found[1:-1])


def test_grids_are_what_the_papers_say():
    logsnr = grids["logsnr"](vp(), 5)[:-1]
    torch.testing.assert_close(logsnr, torch.linspace(*vp().level_range, 5, dtype=torch.float64))
    # EDM, equation 5
    low, high, n = 0.002, 80.0, 18
    sigmas = [(high ** (1 / 7) + i / (n - 1) * (low ** (1 / 7) - high ** (1 / 7))) ** 7 for i in range(n)]
    karras = grids["karras"](edm(), n)[:-1]
    torch.testing.assert_close(
        torch.exp(-karras / 2), torch.tensor(sigmas, dtype=torch.float64), rtol=1e-10, atol=0
    )
    t = torch.linspace(1, 0, 11, dtype=torch.float64)[:-1]
    torch.testing.assert_close(grids["time"](flow(), 10)[1:-1], flow().level(t[1:]))
    assert float(grids["time"](flow(), 10)[0]) == -INF
    angle = torch.atan(torch.exp(-grids["cosine"](cosine(), 10)[:-1] / 2))
    torch.testing.assert_close(angle, torch.linspace(math.pi / 2, 0, 11, dtype=torch.float64)[:-1])
    assert math.isfinite(float(grids["time"](ve(), 10)[0]))


def test_the_signatures_are_the_documented_ones():
    parameters = inspect.signature(run).parameters
    documented = ["plan", "denoiser", "seeds", "shape", "start", "condition", "trace"]
    assert [name for name in parameters if name in documented] == documented
    assert all(parameters[n].kind is inspect.Parameter.KEYWORD_ONLY for n in list(parameters)[2:])
    assert list(inspect.signature(advance).parameters)[:5] == [
        "plans",
        "rows",
        "slots",
        "predictions",
        "keys",
    ]
    for name in rules:
        found = rules[name]
        assert isinstance(found.order, int)
        assert isinstance(found.start_order, int)
        assert isinstance(found.stochastic, bool)
        assert isinstance(found.exact_on_point_mass, bool)
        assert found.summary
    assert set(grids) >= {"time", "logsnr", "karras", "cosine"}


@pytest.mark.parametrize("name", rules)
def test_what_a_rule_says_of_its_noise_is_true(name):
    assert make_plan(name, vp(), steps=5).stochastic is rules[name].stochastic


@pytest.mark.parametrize("name", rules)
def test_built_in_rules_need_at_most_five_slots(name):
    for schedule, grid in ((vp(), "logsnr"), (cosine(), "time")):
        assert make_plan(name, schedule, steps=12, grid=grid).slots <= 5


@pytest.mark.parametrize("name", ["langevin", "predictor_corrector", "annealed_langevin"])
def test_more_corrections_need_no_more_slots(name):
    many, few = (make_plan(name, vp(), steps=4, corrections=count) for count in (7, 2))
    assert many.slots == few.slots <= 5


@pytest.mark.parametrize("name", rules)
def test_levels_tell_where_the_state_is_after_every_row(name):
    plan = make_plan(name, cosine(), steps=5, grid="time")
    assert plan.levels[0] == plan.grid[0]
    assert len(plan.levels) == len(plan.rows) + 1
    asked = [row.level for row in plan.rows if row.level is not None]
    assert list(plan.levels[-len(asked) :]) == [*asked[1:], INF]


@pytest.mark.parametrize("name", rules)
def test_a_plan_survives_its_file_exactly(name, tmp_path):
    for plan in (make_plan(name, cosine(), steps=6, grid="time"), make_plan(name, grid=[-3.0, 1 / 3, 7.0])):
        plan.save(tmp_path / "plan.json")
        again = Plan.load(tmp_path / "plan.json")
        assert (again.grid, again.levels, again.nfe, again.slots) == (
            plan.grid,
            plan.levels,
            plan.nfe,
            plan.slots,
        )
        assert again.options == plan.options
        for a, b in zip(again.rows, plan.rows, strict=True):
            assert torch.equal(a.matrix, b.matrix)
            assert (a.level, a.base, a.draws, a.variance) == (b.level, b.base, b.draws, b.variance)
        again.check()
        denoiser = exact.Gaussian(0.1, 0.6)
        x, y = (run(p, denoiser, seeds=[3, 4], shape=(5,)) for p in (plan, again))
        assert torch.equal(x, y)


def test_the_file_is_plain_json_without_infinities(tmp_path):
    make_plan("ddpm", cosine(), steps=3, grid="time").save(tmp_path / "plan.json")
    text = (tmp_path / "plan.json").read_text()

    def refuse(name):
        raise AssertionError(name)

    assert json.loads(text, parse_constant=refuse)["rule"] == "ddpm"


def damage(data, path, value):
    *most, last = path
    for key in most:
        data = data[key]
    if value is None:
        del data[last]
    else:
        data[last] = value


DAMAGES = {
    "no rows": (["rows"], None),
    "rows are a number": (["rows"], 3),
    "a row is text": (["rows", 0], "row"),
    "short matrix": (["rows", 1, "matrix"], [[1.0]]),
    "ragged matrix": (["rows", 1, "matrix"], [[1.0], [1.0, 2.0]]),
    "text in a matrix": (["rows", 1, "matrix", 0, 0], "x"),
    "infinity in a matrix": (["rows", 1, "matrix", 0, 0], 1e999),
    "huge slots": (["slots"], 1e999),
    "slots of another table": (["slots"], 9),
    "no grid": (["grid"], None),
    "a draw cut short": (["rows", 1, "draws"], [["path", 0.0]]),
    "a level that is text": (["rows", 1, "level"], "high"),
    "another version": (["version"], 99),
    "another format": (["format"], "perrin-model"),
    "options that are a number": (["options"], 7),
}


@pytest.mark.parametrize("what", DAMAGES)
def test_a_damaged_file_gives_one_clear_line_that_names_it(what, tmp_path):
    data = make_plan("ddpm", vp(), steps=4).to_json()
    damage(data, *DAMAGES[what])
    path = tmp_path / "broken.json"
    path.write_text(json.dumps(data))
    with pytest.raises(PerrinError, match=r"broken\.json") as caught:
        Plan.load(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe\x00", b"[]", b"null", b'{"format": "perrin-plan"}']
)
def test_a_file_that_is_no_plan_is_refused_in_one_line(content, tmp_path):
    path = tmp_path / "broken.json"
    path.write_bytes(content)
    with pytest.raises(PerrinError, match=r"broken\.json") as caught:
        Plan.load(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(PerrinError, match="nowhere"):
        Plan.load(tmp_path / "nowhere.json")
    with pytest.raises(PerrinError):
        Plan.load(tmp_path)


@pytest.mark.parametrize(
    ("call", "nearest"),
    [
        (lambda: make_plan("dpmpp2m", vp(), steps=3), "dpmpp_2m"),
        (lambda: make_plan("hune", vp(), steps=3), "heun"),
        (lambda: make_plan("ddim", vp(), steps=3, grid="karas"), "karras"),
        (lambda: make_plan("edm_heun", vp(), steps=3, chrun=1.0), "churn"),
    ],
)
def test_an_unknown_name_gives_the_nearest_right_one(call, nearest):
    with pytest.raises(PerrinError, match=f"did you mean '{nearest}'") as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "arguments",
    [
        {"grid": [1.0]},
        {"grid": []},
        {"grid": [2.0, 1.0]},
        {"grid": [1.0, 1.0]},
        {"grid": [0.0, math.nan, 2.0]},
        {"grid": "logsnr"},
        {"schedule": vp(), "steps": 0},
        {"schedule": vp(), "steps": 2.5},
        {"schedule": vp(), "steps": True},
        {"schedule": vp()},
    ],
)
def test_impossible_grids_are_refused_in_one_line(arguments):
    with pytest.raises(PerrinError) as caught:
        make_plan("ddim", **arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("edm_heun", {"noise": 1.003}),
        ("edm_heun", {"churn": -1.0}),
        ("langevin", {"corrections": 0}),
        ("predictor_corrector", {"strength": 0.0}),
    ],
)
def test_options_that_would_spoil_the_variance_are_refused(name, options):
    """s_noise = 1.003 and the like give the output a wrong variance."""
    with pytest.raises(PerrinError):
        make_plan(name, vp(), steps=4, **options)


def transfer(step, mean):
    return step.t.alpha * mean + (step.t.sigma / step.s.sigma) * (step.x - step.s.alpha * mean)


NON_LINEAR = {
    "clips": lambda step: transfer(step, torch.clamp(step.predict().mean, -1, 1)),
    "calls a method": lambda step: transfer(step, step.predict().mean.clamp(-1, 1)),
    "multiplies": lambda step: step.predict().mean * step.x,
    "divides": lambda step: step.x / step.predict().mean,
    "squares": lambda step: step.x**2,
    "adds a constant": lambda step: step.predict().mean + 1.0,
    "takes a size": lambda step: abs(step.x),
    "branches": lambda step: step.x if step.predict().mean else step.predict().mean,
    "compares": lambda step: step.x if step.predict().mean == step.x else step.predict().mean,
    "orders": lambda step: max(step.x, step.predict().mean),
    "returns a number": lambda step: 1.0,
    "returns nothing": lambda step: None,
}


@pytest.mark.parametrize("what", NON_LINEAR)
def test_a_rule_that_is_not_linear_is_refused(what):
    with pytest.raises(PerrinError) as caught:
        make_plan(Rule("mine", NON_LINEAR[what], order=1, start_order=1), vp(), steps=3)
    assert "\n" not in str(caught.value)


def test_a_rule_that_is_another_each_time_is_refused():
    import random

    source = random.Random(0)

    def fickle(step):
        return transfer(step, step.predict().mean * source.random())

    with pytest.raises(PerrinError, match="another table each time"):
        make_plan(Rule("mine", fickle, order=1, start_order=1), vp(), steps=3)


def test_a_rule_may_use_pythons_sum_and_its_own_options():
    @rule("averaged", order=1)
    def averaged(step, *, weight=0.5):
        """Two halves of one prediction."""
        mean = step.predict().mean
        return transfer(step, sum(w * mean for w in (weight, 1 - weight)))

    plan = make_plan(averaged, vp(), steps=4, weight=0.3)
    plan.check()
    x = [run(p, exact.Gaussian(), seeds=[1], shape=(3,)) for p in (plan, make_plan("ddim", vp(), steps=4))]
    torch.testing.assert_close(x[0], x[1])


def test_a_rule_that_evaluates_where_the_state_is_clean_is_refused():
    def late(step):
        return step.predict(step.x, step.t).mean

    with pytest.raises(PerrinError, match="clean already"):
        make_plan(Rule("late", late, order=1, start_order=1), vp(), steps=3)


def test_a_rule_that_draws_part_of_a_drawn_interval_is_refused():
    def bridging(step):
        s, t = step.s, step.t
        whole = step.path(s, t)
        return (
            transfer(step, step.predict().mean)
            + 0.1 * whole
            + 0.1 * step.path(s, step.at(0.5 * (s.level + t.level)))
        )

    with pytest.raises(PerrinError, match="part of an interval"):
        make_plan(Rule("bridging", bridging, order=1, start_order=1, stochastic=True), grid=[0.0, 1.0, 2.0])
