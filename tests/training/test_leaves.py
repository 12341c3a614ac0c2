"""States with several leaves go through the trainer, the model folder, samples and `repro` like any others."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.training.tiny import Killed, assert_identical, killed_at

import perrin
from perrin.errors import PerrinError
from perrin.reproduction import reproduce
from perrin.training import recipe as recipes
from perrin.training.setup import prepare

pytest.importorskip("rdkit")

WATER = ([8, 1, 1], [[0.0, 0.0, 0.12], [0.0, 0.76, -0.48], [0.0, -0.76, -0.48]])
METHANE = (
    [6, 1, 1, 1, 1],
    np.array([[0, 0, 0], [1, 1, 1], [-1, -1, 1], [-1, 1, -1], [1, -1, -1]]) * 0.63,
)
AMMONIA = ([7, 1, 1, 1], [[0.0, 0.0, 0.11], [0.0, 0.94, -0.27], [0.81, -0.47, -0.27], [-0.81, -0.47, -0.27]])


def molecules(folder, repeats=10):
    """Three molecules, again and again with a little noise."""
    rng, given = np.random.default_rng(0), [WATER, METHANE, AMMONIA] * repeats
    numbers, positions = np.zeros((len(given), 5), np.uint8), np.zeros((len(given), 5, 3), np.float32)
    for row, (z, x) in enumerate(given):
        numbers[row, : len(z)] = z
        positions[row, : len(z)] = np.asarray(x) + 0.01 * rng.normal(size=(len(z), 3))
    sizes = np.array([len(z) for z, _ in given])
    path = folder / "small.npz"
    np.savez(
        path, atomic_numbers=numbers, positions=positions, num_atoms=sizes, size=sizes.astype(np.float32)
    )
    return path


def recipe_of(path, codec=None, **training):
    return {
        "name": "small",
        "kind": "molecules",
        "data": {"path": str(path), "properties": ["size"]},
        "codec": codec or {},
        "process": {"atoms": {"clock": [1.0, 2.0]}},
        "net": {"name": "egnn", "width": 16, "pair_width": 16, "blocks": 2, "radial": 8},
        "objective": {
            "weight": {"positions": {"name": "edm"}, "atoms": {"name": "cross_entropy", "times": 0.5}}
        },
        "training": {
            "steps": 12,
            "batch": 8,
            "precision": "float32",
            "validation": 6,
            "save_every": 5,
            **training,
        },
        "sampling": {"solver": {"positions": "dpmpp_2m_sde", "atoms": "ancestral"}, "steps": 6},
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("leaves")
    return perrin.train(recipe_of(molecules(folder)), out=folder / "run")


def test_samples_have_sizes_that_were_trained_and_files_that_can_be_made_again(run, tmp_path):
    samples = run.model.sample(6, seed=3)
    assert set(samples.state) == {"atoms", "positions"}
    sizes = (samples.state["atoms"] >= 0).sum(1)
    assert set(sizes.tolist()) <= {3, 4, 5}
    assert torch.equal((samples.state["positions"] != 0).any(2).sum(1), sizes)
    assert float(samples.state["positions"].sum(1).abs().max()) < 1e-4
    assert [item["wanted"]["length"] for item in samples.provenance] == sizes.tolist()
    (file,) = samples.save(tmp_path / "drawn.sdf")
    again = reproduce(file)
    assert again.items == 6
    assert again.largest_difference <= again.tolerance


def test_a_sample_is_the_same_alone_in_a_batch_and_from_the_folder(run):
    together = run.model.sample(5, seed=1, batch=5).state
    loaded = perrin.load(run.folder)
    for i in range(5):
        alone = loaded.sample(1, seed=1, first=i).state
        n = alone["atoms"].shape[1]
        assert torch.equal(together["atoms"][i : i + 1, :n], alone["atoms"])
        torch.testing.assert_close(
            together["positions"][i : i + 1, :n], alone["positions"], rtol=0, atol=1e-4
        )
        assert bool((together["atoms"][i, n:] == -1).all())


def test_what_is_asked_for_is_told_to_the_network_and_guided(run):
    """The sizes of molecules with that property; another guidance gives another sample."""
    plain = run.model.sample(4, seed=2, size=5.0)
    assert plain.state["atoms"].shape[1] == 5
    assert bool((plain.state["atoms"] >= 0).all())
    other = run.model.sample(4, seed=2, size=5.0, guidance=3.0)
    assert not torch.equal(plain.state["positions"], other.state["positions"])
    with pytest.raises(PerrinError, match="sise"):
        run.model.sample(1, sise=5.0)


def test_a_killed_and_resumed_run_is_the_run_that_was_not_killed(tmp_path):
    path = molecules(tmp_path)
    perrin.train(recipe_of(path), out=tmp_path / "whole")
    with pytest.raises(Killed):
        perrin.train(recipe_of(path), out=tmp_path / "killed", progress=killed_at(8))
    perrin.train(tmp_path / "killed", resume=True)
    assert_identical(tmp_path / "whole", tmp_path / "killed")


def test_leaves_that_a_recipe_does_not_name_get_the_usual_weight_and_solver(tmp_path):
    setup = prepare(recipes.validate(recipe_of(molecules(tmp_path), {"bonds": True})))
    assert setup.recipe.objective.weight["bonds"] == {"name": "cross_entropy"}
    assert setup.sampling.solver["bonds"] == "ancestral"
    assert setup.sampling.plan(clocks=setup.design.product.clocks).nfe == 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"net": {"name": "mlp"}}, "net 'mlp' does not take states of several leaves"),
        (
            {"process": {"atmos": {"clock": [1, 0]}}},
            "process: leaf 'atmos' is not known; did you mean 'atoms'",
        ),
        ({"objective": {"name": "sliced"}}, "objective 'sliced' is for states of one leaf"),
        ({"sampling": {"solver": {"positions": "ancestrl"}}}, "did you mean 'euler_ancestral'"),
    ],
)
def test_recipes_that_do_not_fit_give_one_clear_error(tmp_path, change, message):
    with pytest.raises(PerrinError, match=message):
        prepare(recipes.validate({**recipe_of(molecules(tmp_path)), **change}))


@pytest.mark.parametrize(
    "ask",
    [lambda m: m.log_prob([]), lambda m: m.encode(torch.zeros(1, 2)), lambda m: m.states(torch.zeros(1, 2))],
)
def test_what_is_for_states_of_one_leaf_says_so(run, ask):
    with pytest.raises(PerrinError, match="states of one leaf"):
        ask(run.model)
