"""One molecule read: what RDKit makes of it, and what it refuses."""

from dataclasses import replace

import numpy as np
import pytest
from tests.evaluate.molecule_samples import AMMONIUM, BROKEN, METHANE, WATER, benzene, moved, of_smiles

pytest.importorskip("rdkit", reason="the extra 'molecules' is not installed")

from perrin.evaluate.molecule_reading import PROPERTIES, read, read_all
from perrin.evaluate.molecule_strain import strain
from perrin.kinds.molecules.chemistry import from_smiles, to_rdkit
from perrin.kinds.molecules.molecule import Molecule


def test_a_molecule_of_positions_alone_is_read_as_a_chemist_would():
    found = read(METHANE)
    assert (found.smiles, found.bonds, found.pieces, found.radicals) == ("C", "perceived", 1, 0)
    assert (found.stable, found.valent) == ((5, 5), None)
    assert found.sound
    assert found.connected
    assert found.properties[PROPERTIES.index("weight")] == pytest.approx(16.04, abs=0.01)
    assert found.properties[PROPERTIES.index("heavy_atoms")] == 1
    assert list(found.lengths) == ["C-H"]
    np.testing.assert_allclose(found.lengths["C-H"], 1.09, atol=1e-6)


def test_bonds_and_charges_that_are_given_are_taken_as_they_are():
    ring = read(benzene())
    assert (ring.smiles, ring.bonds, ring.valent) == ("c1ccccc1", "given", (12, 12))
    assert {name: len(lengths) for name, lengths in ring.lengths.items()} == {"C:C": 6, "C-H": 6}
    np.testing.assert_allclose(ring.lengths["C:C"], 1.39, atol=1e-6)
    assert read(AMMONIUM).smiles == "[NH4+]"
    neutral = read(replace(AMMONIUM, charges=(0,) * 5))
    assert neutral.smiles is None
    assert neutral.problem == "Explicit valence for atom # N, #, is greater than permitted"
    assert neutral.valent == (4, 5)


def test_a_molecule_in_pieces_or_with_an_unpaired_electron_is_not_sound():
    pieces = read(BROKEN)
    assert pieces.pieces == 2
    assert not pieces.connected
    assert not pieces.sound
    methyl = Molecule(METHANE.elements[:4], (), METHANE.positions[:4], ((0, 1, 1), (0, 2, 1), (0, 3, 1)))
    radical = read(methyl)
    assert (radical.smiles, radical.radicals, radical.connected, radical.sound) == ("[CH3]", 1, True, False)
    assert not read("[CH3]").sound


def test_atoms_that_distances_leave_unstable_make_a_molecule_unsound_though_valid():
    bent = moved(WATER, 1, (0.15, 0, 0))  # still bonded by the radii, too long for a bond by its length
    found = read(bent)
    assert found.connected
    assert found.stable == (1, 3)
    assert not found.sound


def test_a_smiles_is_read_without_places_and_a_wrong_one_is_counted():
    found = read("OCC")
    assert (found.smiles, found.bonds, found.stable, found.lengths) == ("CCO", "smiles", None, {})
    assert found.sound
    assert read("C1CC").problem.startswith("unclosed ring")
    assert read("C(C)(C)(C)(C)C").smiles is None
    assert read("").problem == "an empty SMILES"
    flat = read(from_smiles("C[C@H](N)O"))
    assert flat.smiles == "CC(N)O"  # without stereo
    assert flat.valent == (11, 11)


def test_hydrogens_that_are_no_atoms_leave_stability_unsaid():
    found = read(from_smiles("CCO", hydrogens=False))
    assert (found.stable, found.valent, found.smiles) == (None, None, "CCO")


def test_strain_rises_with_distortion_and_nothing_is_moved():
    relaxed = of_smiles("CCO")
    mol = to_rdkit(relaxed)
    before = mol.GetConformer().GetPositions()
    assert strain(mol).value == pytest.approx(0, abs=1e-3)
    np.testing.assert_array_equal(mol.GetConformer().GetPositions(), before)
    stretched = replace(relaxed, positions=relaxed.positions * 1.05)
    more = replace(relaxed, positions=relaxed.positions * 1.10)
    energies = [strain(to_rdkit(one)).value for one in (stretched, more)]
    assert 3 < energies[0] < energies[1] / 2


def test_strain_needs_parameters_and_whole_molecules():
    boron = Molecule(
        ("B", "H", "H", "H"), positions=[[0, 0, 0], [1.19, 0, 0], [-0.6, 1.03, 0], [-0.6, -1.03, 0]],
        bonds=((0, 1, 1), (0, 2, 1), (0, 3, 1)),
    )  # fmt: skip
    found = read(boron, strained=True)
    assert (found.strain, found.unstrained) == (None, "no MMFF parameters")
    assert read(BROKEN, strained=True).strain is None
    two = Molecule(WATER.elements * 2, (), np.r_[WATER.positions, WATER.positions + 9])
    assert read(WATER, strained=True).strain > 0
    assert (read(two, strained=True).strain, read(two).pieces) == (None, 2)
    assert read("CCO", strained=True).strain is None
    energies = [reading.strain for reading in read_all([of_smiles("CO")] * 5, every=2)]
    assert [energy is not None for energy in energies] == [True, False, True, False, True]


def test_hopeless_positions_end_in_a_reading_and_not_in_an_error():
    same = Molecule(("C", "C", "H"), positions=np.zeros((3, 3)))
    far = Molecule(("C", "N", "O"), positions=1e6 * np.eye(3))
    for molecule in (same, far):
        assert not read(molecule, strained=True).sound


def test_rdkit_says_nothing_on_the_terminal(capfd):
    read_all(["C1CC", "x", "C(C)(C)(C)(C)C", replace(AMMONIUM, charges=(0,) * 5), BROKEN], every=1)
    written = capfd.readouterr()
    assert written.out == written.err == ""
