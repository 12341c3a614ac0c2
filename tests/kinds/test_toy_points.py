"""Points made by formula: the same each time, the shapes they are named after, and a dataset like any other."""

from __future__ import annotations

import typing

import numpy as np
import pytest

from perrin.errors import PerrinError
from perrin.kinds.arrays import Arrays, open_arrays
from perrin.kinds.arrays.toy import MODES, Toy, toy_points
from perrin.training import recipe as recipes
from perrin.training.setup import open_data

NAMES = typing.get_args(Toy)


def points(name, count=4000, seed=0):
    (values, part), _ = toy_points(name, count, seed)
    return values, part


@pytest.mark.parametrize("name", NAMES)
def test_a_set_is_a_function_of_its_name_count_and_seed(name):
    one, again = open_arrays(toy=name, count=50, seed=3), open_arrays(toy=name, count=50, seed=3)
    other = open_arrays(toy=name, count=50, seed=4)
    assert all(np.array_equal(one[i]["value"], again[i]["value"]) for i in range(50))
    assert one.description == again.description
    assert one.description["sha256"] != other.description["sha256"]
    assert len(one) == one.description["count"] == 50
    assert one[0]["value"].shape == (2,)


def test_twenty_five_gaussians_stand_on_their_grid():
    values, part = points("gaussians25", 40_000)
    centres, std = MODES["gaussians25"]
    assert sorted(map(tuple, centres.tolist())) == [(x, y) for x in range(-2, 3) for y in range(-2, 3)]
    apart = values - centres[part]
    assert apart.std() == pytest.approx(std, rel=0.02)
    assert np.abs(apart.mean(0)).max() < 5 * std / np.sqrt(40_000)
    assert np.bincount(part).min() > 40_000 / 25 * 0.85


def test_the_other_sets_have_the_shapes_of_their_names():
    values, part = points("rings")
    assert np.abs(np.linalg.norm(values, axis=1) - 0.5 * (part + 1)).max() < 6 * 0.03
    values, part = points("moons")
    upper, lower = np.linalg.norm(values[part == 0], axis=1), values[part == 1] - [1.0, 0.5]
    assert np.abs(upper - 1).max() < 6 * 0.05
    assert np.abs(np.linalg.norm(lower, axis=1) - 1).max() < 6 * 0.05
    assert np.median(values[part == 0, 1]) > np.median(values[part == 1, 1])
    values, part = points("checkerboard")
    cell = np.floor(values).astype(int) + 2
    assert ((cell >= 0) & (cell < 4)).all()
    assert (cell.sum(1) % 2 == 0).all()  # dark squares alone
    assert len({tuple(c) for c in cell.tolist()}) == len(np.unique(part)) == 8
    values, part = points("swiss_roll")
    assert part is None
    radius = np.linalg.norm(values, axis=1)
    assert 2 / 3 - 0.3 < radius.min() < radius.max() < 2.3
    # two turns of a spiral: the radius gives the angle
    turn = radius * 4.5 * np.pi / 2
    off = np.angle(np.exp(1j * (np.arctan2(values[:, 1], values[:, 0]) - turn)))
    assert np.abs(off).mean() < 0.6


def test_parts_are_labels_unless_they_are_not_wanted():
    assert open_arrays(toy="moons", count=20).classes == ["0", "1"]
    assert open_arrays(toy="moons", count=20, labels=False).classes is None
    assert open_arrays(toy="swiss_roll", count=20).classes is None
    train, held = open_arrays(toy="rings", count=100).split(0.2, 0)
    assert (len(train), len(held)) == (80, 20)


def test_it_goes_to_states_and_back_like_a_file():
    dataset = open_arrays(toy="gaussians25", count=500)
    codec = Arrays.codec.fit(dataset)
    items = [dataset[i] for i in range(20)]
    decoded = codec.decode(codec.encode(items).state)
    np.testing.assert_allclose(decoded, [item["value"] for item in items], atol=1e-6)
    assert codec.columns == ["x", "y"]
    assert codec.picture(decoded).size > (100, 100)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"path": "points.npy", "toy": "moons"}, "both"),
        ({}, "neither"),
        ({"toy": "moon"}, "did you mean 'moons'"),
        ({"toy": "moons", "count": 0}, "at least one"),
        ({"path": "points.npy", "count": 5}, "for toy sets"),
        ({"path": "points.npy", "seed": 5}, "for toy sets"),
    ],
)
def test_a_path_and_a_set_together_or_neither_are_refused_in_one_line(arguments, says):
    with pytest.raises(PerrinError, match=says) as caught:
        open_arrays(**arguments)
    assert "\n" not in str(caught.value)


def test_the_recipe_points_needs_no_path_and_arrays_still_does():
    data = open_data(recipes.validate(recipes.read("points")))
    assert data.test is not None
    assert data.train.classes is None
    other = recipes.merge(recipes.read("points"), {"data": {"toy": "moons", "count": 200}, "held_out": 20})
    other["training"] = {**other["training"], "validation": 10}
    assert "moons" in open_data(recipes.validate(other)).train.description["path"]
    with pytest.raises(PerrinError, match=r"data\.path is missing"):
        open_data(recipes.validate(recipes.read("arrays")))
