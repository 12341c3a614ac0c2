"""The benchmark of solvers on exact denoisers: its references are exact, and its peers are run as they are meant to be."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from perrin.process import ddpm_linear
from perrin.sample import make_plan

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPTS = REPOSITORY / "benchmarks" / "solvers"
PEERS = REPOSITORY / ".venv-peers"


@pytest.fixture(scope="module")
def targets():
    """The module, found as the scripts beside it find it."""
    sys.path.insert(0, str(SCRIPTS))
    try:
        import targets

        yield targets
    finally:
        sys.path.remove(str(SCRIPTS))
        sys.modules.pop("targets", None)


def rms(gap):
    return gap.flatten(1).square().mean(1).sqrt()


@pytest.mark.parametrize("name", ["digits", "mixture"])
def test_a_reference_of_twice_the_evaluations_is_the_same(targets, name):
    target = targets.TARGETS[name]()
    seeds = range(24)
    gap = rms(target.reference(seeds, steps=120) - target.reference(seeds, steps=240))
    assert float(gap.median()) < 5e-4


def test_the_error_of_a_finer_plan_falls_to_nothing(targets):
    target, seeds = targets.mixture(), range(32)
    found = [
        float(
            targets.errors(
                make_plan("unipc_2", target.schedule, steps=n, grid="cosine"), target, seeds
            ).median()
        )
        for n in (5, 20, 120)
    ]
    assert found[0] > 10 * found[1] > 50 * found[2]
    assert found[2] < 1e-3


def test_a_kept_reference_is_read_again_and_belongs_to_its_seeds_and_level(targets, tmp_path):
    target = targets.mixture(tmp_path)
    first = target.reference(range(3), -10.0, steps=20)
    (kept,) = tmp_path.iterdir()
    np.savez(kept, state=first.numpy() + 1.0)
    assert torch.equal(target.reference(range(3), -10.0, steps=20), first + 1.0)
    assert not torch.equal(target.reference(range(1, 4), -10.0, steps=20)[:2], first[1:] + 1.0)
    assert len(list(tmp_path.iterdir())) == 2


def test_median_and_root_mean_square_lie_in_their_intervals(targets):
    found = targets.summary(torch.tensor([0.0, 3.0, 4.0, 5.0, 0.0] * 100, dtype=torch.float64))
    assert found["median"][0] == 3.0
    assert found["rms"][0] == pytest.approx(math.sqrt(10))
    assert all(low <= value <= high for value, low, high in found.values())
    assert 0 < found["rms"][2] - found["rms"][1] < 0.5


def test_the_digits_are_all_there(targets):
    target = targets.digits()
    points = target.denoiser.means
    assert points.shape == (1797, 1, 8, 8)
    assert (float(points.min()), float(points.max())) == (-1.0, 1.0)
    assert target.start(range(4)).shape == (4, 1, 8, 8)


def test_unseen_seeds_are_unseen(targets):
    assert len(targets.UNSEEN) == 4096
    sets = [set(s) for s in (targets.UNSEEN, targets.CHOOSING, targets.FITTING, range(2048))]
    assert len(set.union(*sets)) == sum(map(len, sets))


@pytest.mark.slow
def test_peers_end_where_our_own_rule_does_on_the_same_levels(targets, tmp_path):
    """DPM-Solver++ 2M of both peers at even log SNR, where each of them is the same method as ours."""
    python = PEERS / "bin" / "python"
    if not (PEERS / "complete").exists() or "k-diffusion" not in (PEERS / "complete").read_text():
        pytest.skip("the peers' environment is not there; benchmarks/solvers/run.py makes it")
    target, seeds, table = targets.mixture(), range(8), ddpm_linear()
    np.savez(tmp_path / "target.npz", means=target.denoiser.means.numpy(), std=0.6)
    np.savez(tmp_path / "start.npz", start=target.start(seeds).numpy())
    jobs = [
        {"library": "k-diffusion", "sampler": "DPM++ 2M", "grid": "exponential"},
        {"library": "diffusers", "sampler": "DPM-Solver++ 2M", "grid": "exponential"},
    ]
    for i, job in enumerate(jobs):
        job |= {"evaluations": 12, "out": str(tmp_path / f"{i}.npz")}
    paths = {"target": str(tmp_path / "target.npz"), "start": str(tmp_path / "start.npz")}
    (tmp_path / "jobs.json").write_text(json.dumps(paths | {"jobs": jobs}))
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(REPOSITORY / "src"), str(PEERS / "stand_in")]),
    }
    command = [str(python), str(SCRIPTS / "peers.py"), str(tmp_path / "jobs.json")]
    subprocess.run(command, check=True, env=environment)
    grid = np.linspace(float(table.level(999.0)), float(table.level(0.0)), 12)
    ours = targets.solve(make_plan("dpmpp_2m", grid=[*grid.tolist(), math.inf]), target, seeds)
    for i, tolerance in enumerate((1e-4, 0.1)):  # diffusers rounds the level it tells the network
        with np.load(tmp_path / f"{i}.npz") as found:
            assert int(found["calls"]) == 12
            gap = rms(torch.from_numpy(found["states"]) - ours)
        assert float(gap.median()) < tolerance
