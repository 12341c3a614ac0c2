"""Stability by hand-made molecules, and its calibration on real ones."""

import numpy as np
import pytest
from tests.evaluate.molecule_samples import AMMONIUM, BROKEN, DATA, METHANE, WATER, benzene, needs_data

from perrin.errors import PerrinError
from perrin.evaluate.molecule_stability import stability
from perrin.kinds.molecules.elements import atomic_numbers


def of(*molecules, charged=True):
    """The stability of molecules by their distances, padded to one batch."""
    room = max(map(len, molecules))
    numbers = np.zeros((len(molecules), room), int)
    places, charges = np.zeros((len(molecules), room, 3)), np.zeros((len(molecules), room), int)
    for row, molecule in enumerate(molecules):
        numbers[row, : len(molecule)] = atomic_numbers(molecule.elements)
        places[row, : len(molecule)] = molecule.positions
        charges[row, : len(molecule)] = molecule.charges if charged else 0
    return stability(numbers, places, charges)


def test_whole_molecules_are_stable_and_a_torn_off_hydrogen_shows():
    found = of(METHANE, WATER, BROKEN)
    assert found.molecules.tolist() == [True, True, False]
    assert found.atoms[2].tolist() == [
        False,
        True,
        True,
        True,
        False,
    ]  # the carbon lacks one, the hydrogen its bond
    assert found.atom_share == (5 + 3 + 3) / 13
    assert found.molecule_share == 2 / 3


def test_a_charge_changes_what_is_allowed():
    assert of(AMMONIUM).molecule_share == 1
    assert of(AMMONIUM, charged=False).atoms.tolist() == [[False, True, True, True, True]]
    far = stability(np.array([[7]]), np.zeros((1, 1, 3)), np.array([[40]]))
    assert far.atom_share == 0  # no charge of the table


def test_padding_is_neither_stable_nor_unstable():
    alone, beside = of(WATER), of(WATER, METHANE)
    assert alone.atoms[0].tolist() == beside.atoms[0, :3].tolist()
    assert not beside.atoms[0, 3:].any()
    assert beside.present[0].tolist() == [True] * 3 + [False] * 2
    nothing = stability(np.zeros((1, 2), int), np.zeros((1, 2, 3)))
    assert nothing.molecules.tolist() == [False]


def test_given_bonds_stand_in_for_distances():
    ring = benzene(carbons=3.0)  # a ring no distance would hold together
    orders = np.zeros((1, 12, 12), int)
    for i, j, order in ring.bonds:
        orders[0, i, j] = orders[0, j, i] = order
    numbers = atomic_numbers(ring.elements)[None]
    assert stability(numbers, orders=orders).molecule_share == 1
    assert (
        stability(numbers, ring.positions[None]).atom_share == 0.5
    )  # its hydrogens are near enough to their carbons
    assert stability(numbers, orders=2 * orders).atom_share == 0
    assert stability(numbers, orders=9 * orders).atom_share == 0


def test_sulfur_has_three_valences_and_carbon_one():
    for symbol, right in (("S", {2, 4, 6}), ("P", {3, 5}), ("C", {4}), ("O", {2})):
        numbers = atomic_numbers((symbol, *("F",) * 7))[None]
        for bonds in range(8):
            orders = np.zeros((1, 8, 8), int)
            orders[0, 0, 1 : bonds + 1] = orders[0, 1 : bonds + 1, 0] = 1
            assert stability(numbers, orders=orders).atoms[0, 0] == (bonds in right)


def test_positions_that_do_not_fit_are_refused():
    with pytest.raises(PerrinError, match="positions"):
        stability(np.array([[6, 1]]), np.zeros((1, 3, 3)))


@needs_data
def test_the_figure_is_calibrated_on_real_molecules_and_hard_to_fake():
    with np.load(DATA / "qm7_3d.npz") as held:
        numbers, places = held["atomic_numbers"].astype(int)[::4], held["positions"].astype(float)[::4]
    generator = np.random.default_rng(0)
    noise = generator.normal(size=places.shape)
    real = stability(numbers, places)
    assert real.atom_share == pytest.approx(0.995, abs=0.004)
    assert real.molecule_share == pytest.approx(0.968, abs=0.015)
    near, far = (stability(numbers, places + std * noise) for std in (0.05, 0.1))
    assert near.atom_share == pytest.approx(0.80, abs=0.02)
    assert near.molecule_share < 0.2
    assert far.atom_share == pytest.approx(0.555, abs=0.02)
    present = (numbers > 0)[..., None]
    centred = (places - places.sum(1, keepdims=True) / present.sum(1, keepdims=True)) * present
    spread = np.sqrt((centred**2).sum(1) / present.sum(1))[:, None]  # each molecule's own, along each axis
    assert stability(numbers, spread * noise).atom_share == pytest.approx(0.21, abs=0.02)
