"""One density in the words of three families: networks in their own coordinates and times, equal where theory says so."""

import math

import pytest
import torch

from perrin.denoise import exact, wrap
from perrin.learn.scales import Scales
from perrin.likelihood import bound, log_prob
from perrin.process import levels
from perrin.registry import schedules
from perrin.sample import make_plan, run
from perrin.systems import ddpm, score_sde
from perrin.systems.ncsn import ladder, make_sampler

DATA = exact.Mixture(torch.tensor([[-1.0, 0.5], [0.8, -0.6]]), 0.3, torch.tensor([0.3, 0.7]))

FAMILIES = {  # what the network outputs, and the schedule whose coordinates and time it knows
    "DDPM": ("noise", {"name": "ddpm_linear"}),
    "NCSN": ("score", {"name": "ve", "sigma_min": 0.01, "sigma_max": 60.0}),
    "VP SDE": ("score", {"name": "vp"}),
    "sub-VP SDE": ("score", {"name": "sub_vp"}),
    "VE SDE": ("noise", {"name": "ve", "sigma_min": 0.01, "sigma_max": 60.0}),
}
RANGE = (-7.5, 9.0)  # levels that every one of these schedules has


def network(parameterisation, schedule):
    """The exact network of a family: own coordinates y = scale x and own time in, own output out."""

    def net(y, time, condition=None):
        level, scale = schedule.level(time), schedule.scale(time)[:, None]
        x = y / scale
        found = DATA(x, level)
        return found.noise_at(x, level) if parameterisation == "noise" else found.score(x, level) / scale

    return net


def denoiser(family):
    """The family's network as a denoiser."""
    parameterisation, section = FAMILIES[family]
    schedule = schedules.build(section)
    return wrap(network(parameterisation, schedule), parameterisation, schedule)


@pytest.fixture
def points():
    """Some states, float64."""
    return torch.randn(6, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_score_is_the_same_at_every_level(family, points):
    for value in torch.linspace(*RANGE, 12).tolist():
        level = torch.full((6,), value, dtype=torch.float64)
        found = denoiser(family)(points, level)
        truth = DATA(points, level)
        assert torch.allclose(found.score(points, level), truth.score(points, level), rtol=1e-6, atol=1e-6)
        assert torch.allclose(found.velocity(points, level), truth.velocity(points, level), atol=1e-6)


@pytest.mark.parametrize(
    "rule", ["ddpm", "annealed_langevin", "predictor_corrector", "euler_maruyama", "heun"]
)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_sampler_gives_the_same_samples(family, rule):
    grid = torch.linspace(*RANGE, 31).tolist()
    plan = make_plan(rule, grid=grid)
    drawn, wanted = (
        run(plan, d, seeds=range(8), shape=(2,), dtype=torch.float64) for d in (denoiser(family), DATA)
    )
    assert torch.allclose(drawn, wanted, atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_likelihoods_are_the_same_numbers(family, points):
    data = 0.7 * points
    for measure in (
        lambda d: log_prob(d, data, level_range=RANGE).value,
        lambda d: bound(d, data, level_range=RANGE, samples=32).value,
        lambda d: bound(d, data, levels=torch.linspace(*RANGE, 9).double(), samples=32).value,
    ):
        assert torch.allclose(measure(denoiser(family)), measure(DATA), atol=1e-6)


def test_a_chain_and_the_sde_take_the_same_steps(points):
    """The chain's posterior step is the DDIM step of the SDE's literature with all of its noise renewed."""
    chain = schedules.build("ddpm_linear")
    plan = ddpm.strided(chain, 40)
    steps = ddpm.spaced(chain, 40).tolist()
    renewed = make_plan(
        "euler_ancestral", grid=[*chain.level(torch.tensor(steps)).tolist(), torch.inf], eta=1.0
    )
    one, other = (run(p, DATA, seeds=range(6), shape=(2,), dtype=torch.float64) for p in (plan, renewed))
    assert torch.allclose(one, other, atol=1e-6)


def test_the_reverse_sde_in_its_own_coordinates_is_the_step_in_unit_coordinates(points):
    """Drift and diffusion of the three SDEs, brought to the level and to unit coordinates, are one."""
    for name in ("vp", "sub_vp", "ve"):
        schedule = schedules.build(name)
        t = 0.6
        level, scale = schedule.level(t), float(schedule.scale(t))
        drift, diffusion = score_sde.reverse_sde(DATA, schedule, scale * points, t)
        rate = float(schedule.d_level(t))
        # x = y / scale: dx/dl = (drift / scale - x dlog scale/dt) / (dl/dt), and noise g / scale / sqrt(|dl/dt|)
        mine = (drift / scale - points * float(schedule.d_log_scale(t))) / rate
        sigma, at = levels.sigma(level), level.expand(6)
        wanted = sigma**2 / 2 * points + levels.alpha(level) * DATA(points, at).mean - points
        assert torch.allclose(mine, wanted, atol=1e-6)
        assert diffusion / scale / abs(rate) ** 0.5 == pytest.approx(float(sigma), abs=1e-9)


def test_annealed_langevin_of_the_ladder_is_the_rule_on_its_levels():
    scales = Scales(0.02, 20.0, 12)
    plan = make_sampler(scales, corrections=3, step_size=0.4)
    sigmas = torch.logspace(
        math.log10(20.0), math.log10(0.02), 12, dtype=torch.float64
    )  # the scales themselves
    grid = [*levels.level_of_ratio(sigmas).tolist(), torch.inf]
    assert ladder(scales) == pytest.approx(grid[:-1])
    same = make_plan("annealed_langevin", grid=grid, corrections=3, step_size=0.4)
    for mine, wanted in zip(plan.rows, same.rows, strict=True):
        assert torch.allclose(mine.matrix, wanted.matrix, atol=1e-9)
