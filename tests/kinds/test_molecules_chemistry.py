"""Bonds from distances, packed bonds, and molecules to and from RDKit."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("rdkit", reason="chemistry is RDKit's: pip install 'perrin[molecules]'")
from rdkit import Chem
from rdkit.Chem import Crippen, Descriptors

from perrin.errors import PerrinError
from perrin.kinds.molecules.bond_lengths import bond_orders, limits
from perrin.kinds.molecules.chemistry import (
    canonical,
    from_rdkit,
    from_smiles,
    smiles_of,
    to_rdkit,
    with_bonds,
    with_hydrogens,
    without_hydrogens,
)
from perrin.kinds.molecules.describing import COMPUTED, describe
from perrin.kinds.molecules.elements import NUMBERS, SYMBOLS, symbol_of
from perrin.kinds.molecules.embedding import embedded
from perrin.kinds.molecules.molecule import Molecule
from perrin.kinds.molecules.packing import packed, pair_count, unpacked
from perrin.kinds.molecules.perceiving import by_length, perceived_rdkit


def apart(one, other, angstrom):
    return bond_orders([one, other], np.array([[0, 0, 0], [0, 0, angstrom]]))[0, 1]


@pytest.mark.parametrize(
    ("one", "other", "longest"),  # angstrom, of single, double and triple bonds: typical length and margin
    [("C", "C", (1.64, 1.39, 1.23)), ("C", "O", (1.53, 1.25, 1.16)), ("N", "N", (1.55, 1.30, 1.13)),
     ("O", "O", (1.58, 1.26, 0)), ("C", "S", (1.92, 1.65, 0)), ("H", "H", (0.84, 0, 0)), ("C", "H", (1.19, 0, 0)),
     ("P", "O", (1.73, 1.55, 0)), ("He", "C", (0, 0, 0))],
)  # fmt: skip
def test_a_bond_is_of_the_highest_order_whose_limit_it_is_within(one, other, longest):
    for order, limit in enumerate(longest, 1):
        if limit:
            assert apart(one, other, limit - 1e-6) == apart(other, one, limit - 1e-6) == order
            assert apart(one, other, limit + 1e-6) == order - 1
    assert apart(one, other, 5.0) == 0


def test_limits_are_symmetric_and_fall_with_the_order():
    table = limits()
    assert np.array_equal(table, table.swapaxes(1, 2))
    assert (table[0] >= table[1]).all()
    assert (table[1] >= table[2]).all()


def test_bonds_of_many_padded_molecules_are_those_of_each_alone():
    generator = np.random.default_rng(0)
    numbers = generator.choice([0, 1, 6, 7, 8], (3, 5, 7))
    positions = generator.normal(size=(3, 5, 7, 3))
    together = bond_orders(numbers, positions)
    for place in np.ndindex(3, 5):
        there = numbers[place] > 0
        alone = bond_orders(numbers[place][there], positions[place][there])
        assert np.array_equal(together[place][np.ix_(there, there)], alone)
    absent = numbers == 0
    assert not together[absent].any()
    assert np.array_equal(together, together.swapaxes(-1, -2))


def test_bonds_refuse_what_they_cannot_mean():
    with pytest.raises(PerrinError, match=r"2 elements need positions \[2, 3\], not \[2, 2\]|\[2\] elements"):
        bond_orders(["C", "C"], np.zeros((2, 2)))
    with pytest.raises(PerrinError, match="element 'Xx' is not known"):
        bond_orders(["C", "Xx"], np.zeros((2, 3)))


def test_the_periodic_table_is_rdkits():
    table = Chem.GetPeriodicTable()
    assert [table.GetElementSymbol(number) for number in range(1, 119)] == list(SYMBOLS)
    assert all(symbol_of(NUMBERS[symbol]) == symbol for symbol in SYMBOLS)


@st.composite
def graphs(draw):
    atoms = draw(st.integers(1, 9))
    every = [(i, j) for j in range(atoms) for i in range(j)]
    chosen = draw(st.lists(st.sampled_from(every), unique=True)) if every else []
    return atoms, tuple(sorted((i, j, draw(st.integers(1, 3))) for i, j in chosen))


@settings(max_examples=60, deadline=None)
@given(graphs(), st.integers(0, 5), st.integers(1, 4))
def test_packed_bonds_come_back_and_padding_follows_them(graph, more, further):
    atoms, bonds = graph
    row = packed(bonds, atoms, atoms + more)
    assert row.shape == (pair_count(atoms + more),)
    assert unpacked(row, atoms) == bonds
    assert np.array_equal(packed(bonds, atoms, atoms + more + further)[: len(row)], row)
    assert (row[pair_count(atoms) :] == -1).all()
    assert (row[: pair_count(atoms)] >= 0).all()
    matrix = np.zeros((atoms, atoms), int)
    for i, j, order in bonds:
        matrix[j, i] = order
    assert np.array_equal(row[: pair_count(atoms)], matrix[np.tril_indices(atoms, -1)])


def test_pairs_are_row_by_row():
    bonds = ((0, 1, 1), (0, 2, 2), (1, 2, 3), (0, 3, 1))
    assert packed(bonds, 4, 4).tolist() == [1, 2, 3, 1, 0, 0]
    with pytest.raises(PerrinError, match="bonds of 3 atoms do not say what those of 4 are"):
        unpacked(np.zeros(3, np.int64), 4)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"charges": (1, 0)}, "3 atoms with 2 charges"),
        ({"positions": np.zeros((3, 2))}, r"positions \[3, 2\], not \[3, 3\]"),
        ({"bonds": ((0, 3, 1),)}, "atoms 0 and 3 in a molecule of 3"),
        ({"bonds": ((0, 1, 1), (1, 0, 2))}, "two bonds between"),
    ],
)
def test_a_molecule_of_parts_that_do_not_fit_is_refused(wrong, message):
    with pytest.raises(PerrinError, match=message):
        Molecule(("C", "O", "N"), **wrong)


def test_molecules_are_equal_by_value():
    one = Molecule(("C", "O"), positions=np.eye(2, 3), bonds=((1, 0, 2),))
    assert one == Molecule(("C", "O"), (0, 0), np.eye(2, 3), ((0, 1, 2),))
    assert one != replace(one, positions=2 * np.eye(2, 3))
    assert one != replace(one, positions=None)
    assert one != replace(one, charges=(0, -1))


SMILES = [
    "C[C@H](F)Cl", "C[C@@H](F)Cl", "F/C=C/F", "F/C=C\\F", "[NH4+].[Cl-]", "C[N+](=O)[O-]",
    "c1ccc2[nH]ccc2c1", "OC(=O)c1ccncc1", "C[C@H]1CC[C@@H](O)CC1", "O=S(=O)(N)c1ccc(Br)cc1", "[CH2]C",
    "[C-]#[O+]", "B(O)O", "C1CC12CC2", "CP(=O)(O)O", "[13CH4]",
]  # fmt: skip


@pytest.mark.parametrize("smiles", SMILES)
def test_smiles_come_back_with_charges_and_stereo(smiles):
    wanted = canonical(Chem.MolFromSmiles(smiles)).replace("[13CH4]", "C")  # isotopes are not kept
    molecule = from_smiles(smiles)
    assert molecule.hydrogens
    assert smiles_of(molecule) == wanted
    bare = from_smiles(smiles, hydrogens=False)
    assert "H" not in bare.elements
    if smiles != "[CH2]C":  # of a radical without hydrogens nothing says that there is one
        assert smiles_of(bare) == wanted
        assert smiles_of(with_hydrogens(bare)) == wanted
    assert smiles_of(without_hydrogens(molecule)) == smiles_of(bare)


@pytest.mark.parametrize("smiles", ["C[C@H](F)Cl", "F/C=C\\F", "C[C@H]1CC[C@@H](O)CC1", "N[C@@H](C)C(=O)O"])
def test_stereo_is_read_off_positions(smiles):
    placed = replace(embedded(from_smiles(smiles)), smiles=None)
    assert smiles_of(placed) == canonical(Chem.MolFromSmiles(smiles))
    assert smiles_of(replace(placed, bonds=None)) == canonical(Chem.MolFromSmiles(smiles))
    mirrored = replace(placed, positions=placed.positions * [1, 1, -1])
    chiral = "@" in smiles and "]1CC[" not in smiles  # the ring's mirror image is itself
    assert (smiles_of(mirrored) != smiles_of(placed)) == chiral


@pytest.mark.parametrize(
    "smiles", ["c1ccccc1", "C[N+](=O)[O-]", "CC#N", "O=C=O", "c1cc[nH]c1", "CS(=O)(=O)C"]
)
def test_bonds_are_perceived_from_positions(smiles):
    placed = replace(embedded(from_smiles(smiles)), bonds=None, smiles=None)
    placed = replace(placed, charges=(0,) * len(placed))
    mol = to_rdkit(placed)
    assert mol.GetProp("bonds") == "perceived"
    assert canonical(mol) == Chem.CanonSmiles(smiles)
    bonded = with_bonds(placed)
    assert bonded.bonds == from_rdkit(mol).bonds
    assert bonded.charges == from_rdkit(mol).charges
    assert to_rdkit(bonded).GetProp("bonds") == "given"


def test_lengths_say_what_the_strict_way_cannot():
    far = np.array([[0.0, 0, 0], [1.5, 0, 0], [0, 1.5, 0], [0, 0, 1.5], [-1.5, 0, 0], [0, -1.5, 0]])
    wreck = Molecule(("C",) * 6, positions=far, name="wreck")
    mol, how = perceived_rdkit(wreck)
    assert how == "lengths"
    assert mol.GetNumBonds() == len(by_length(wreck)) == 5
    with pytest.raises(PerrinError, match="'wreck' is not sound: Explicit valence for atom # 0 C, 5"):
        to_rdkit(wreck)
    assert to_rdkit(wreck, sanitize=False).GetNumBonds() == 5
    assert smiles_of(wreck) is None


def test_atoms_that_are_not_known_yet_have_no_bonds():
    molecule = Molecule(("C", "*", "O"), positions=[[0, 0, 0], [0.5, 0, 0], [0, 0, 1.2]])
    assert by_length(molecule) == ((0, 2, 2),)


def test_a_molecule_of_nothing_but_atoms_has_no_chemistry():
    with pytest.raises(PerrinError, match="neither bonds nor positions"):
        to_rdkit(Molecule(("C",)))


@pytest.mark.parametrize(
    ("smiles", "why"),
    [("C1CC", "unclosed ring"), ("CC(C", "extra open parentheses"), ("c1cccc1", "Can't kekulize mol"), ("", "empty SMILES"),
     ("C(C)(C)(C)(C)C", "Explicit valence for atom # 0 C, 5, is greater than permitted"), ("CQ", "syntax error")],
)  # fmt: skip
def test_smiles_that_do_not_parse_say_why(smiles, why, capfd):
    with pytest.raises(PerrinError, match=why):
        from_smiles(smiles)
    assert capfd.readouterr() == ("", "")


def test_rdkit_speaks_again_after_it_was_overheard(capfd):
    with pytest.raises(PerrinError):
        from_smiles("C1CC")
    assert Chem.MolFromSmiles("C1CC") is None
    assert "unclosed ring" in capfd.readouterr().err


def test_positions_are_a_function_of_the_molecule_and_the_seed():
    molecule = from_smiles("CC(O)c1ccccc1")
    assert np.array_equal(embedded(molecule).positions, embedded(molecule).positions)
    assert not np.array_equal(embedded(molecule).positions, embedded(molecule, seed=2).positions)
    bare = embedded(from_smiles("CC(O)c1ccccc1", hydrogens=False))
    assert bare.positions.shape == (9, 3)
    assert (bond_orders(bare.elements, bare.positions) > 0).sum() == 2 * 9


def test_properties_are_rdkits_whether_hydrogens_are_atoms_or_not():
    mol = Chem.MolFromSmiles("CC(=O)Nc1ccc(O)cc1")
    found = describe(to_rdkit(from_smiles("CC(=O)Nc1ccc(O)cc1")))
    assert tuple(found) == COMPUTED
    assert found == describe(mol)
    assert found["logp"] == pytest.approx(Crippen.MolLogP(mol))
    assert found["weight"] == pytest.approx(Descriptors.MolWt(mol))
    assert 0.5 < found["qed"] < 0.7
    assert found["sa"] == pytest.approx(1.4, abs=0.2)  # paracetamol is easy to make
    assert (found["donors"], found["acceptors"], found["rings"], found["heavy_atoms"]) == (2, 2, 1, 11)
    with pytest.raises(PerrinError, match="property 'lopg' is not known; did you mean 'logp'"):
        describe(mol, ["lopg"])
