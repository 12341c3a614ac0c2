"""Distances between conformers against a second way to compute them, and what coverage makes of them."""

import itertools

import numpy as np
import pytest
from tests.evaluate.molecule_samples import of_smiles

pytest.importorskip("rdkit", reason="the extra 'molecules' is not installed")
from rdkit import Chem
from rdkit.Chem import rdDistGeom
from rdkit.Geometry import Point3D

from perrin.errors import PerrinError
from perrin.evaluate.conformer_coverage import conformer_figures, rmsd_table


def conformers(smiles, count, seed):
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    rdDistGeom.EmbedMultipleConfs(mol, count, randomSeed=seed)
    return mol


def heavy(mol, conformer):
    kept = [atom.GetIdx() for atom in mol.GetAtoms() if atom.GetAtomicNum() > 1]
    return mol.GetConformer(conformer).GetPositions()[kept]


def kabsch(a, b):
    """Root mean square deviation after the best rotation (Kabsch 1976)."""
    a, b = a - a.mean(0), b - b.mean(0)
    u, s, vt = np.linalg.svd(a.T @ b)
    s[2] *= np.sign(np.linalg.det(u @ vt))
    return np.sqrt(max(0.0, ((a**2).sum() + (b**2).sum() - 2 * s.sum()) / len(a)))


def test_distances_agree_with_kabsch_over_all_matches():
    mol, other = conformers("CC(C)c1ccccc1", 3, 11), conformers("CC(C)c1ccccc1", 2, 12)
    found = rmsd_table(mol, other)
    plain = Chem.RemoveHs(mol)
    matches = plain.GetSubstructMatches(plain, uniquify=False)
    assert len(matches) == 4  # two methyls, two sides of the ring
    for g, r in itertools.product(range(3), range(2)):
        best = min(kabsch(heavy(mol, g)[list(match)], heavy(other, r)) for match in matches)
        assert found[g, r] == pytest.approx(best, abs=1e-6)


def test_a_rotated_and_relabelled_copy_is_at_no_distance():
    mol = conformers("OC(=O)c1ccc(F)cc1CC", 2, 5)
    order = np.random.default_rng(0).permutation(mol.GetNumAtoms()).tolist()
    other = Chem.RenumberAtoms(mol, order)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    for conformer in other.GetConformers():
        for atom, place in enumerate(conformer.GetPositions() @ turn + 3):
            conformer.SetAtomPosition(atom, Point3D(*place.tolist()))
    before = mol.GetConformer(0).GetPositions()
    table = rmsd_table(other, mol)
    np.testing.assert_allclose(np.diag(table), 0, atol=1e-5)
    assert table[0, 1] == pytest.approx(table[1, 0], abs=1e-5)
    assert table[0, 1] > 0.05
    np.testing.assert_array_equal(mol.GetConformer(0).GetPositions(), before)


def test_hydrogens_do_not_count():
    mol = conformers("CCO", 1, 3)
    other = Chem.Mol(mol)
    for atom in other.GetAtoms():
        if atom.GetAtomicNum() == 1:
            other.GetConformer().SetAtomPosition(atom.GetIdx(), Point3D(0, 0, 9))
    assert rmsd_table(mol, other)[0, 0] == pytest.approx(0, abs=1e-6)


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(PerrinError, match="CCO cannot be compared with those of CCN"):
        rmsd_table(conformers("CCO", 1, 1), conformers("CCN", 1, 1))
    with pytest.raises(PerrinError, match="no conformers"):
        rmsd_table(conformers("CCO", 1, 1), Chem.MolFromSmiles("CCO"))
    with pytest.raises(PerrinError, match="no conformers to judge"):
        conformer_figures([])


def test_a_crowded_molecule_takes_no_longer_than_its_matches_may():
    crowded = of_smiles("CC(C)(C)c1cc(C(C)(C)C)cc(C(C)(C)C)c1")
    from perrin.kinds.molecules.chemistry import to_rdkit

    mol = to_rdkit(crowded)
    few, all_ = rmsd_table(mol, mol, matches=2), rmsd_table(mol, mol)
    assert all_[0, 0] == pytest.approx(0, abs=1e-5)
    assert few[0, 0] >= all_[0, 0]


def test_the_figures_are_medians_and_means_over_molecules():
    near, far = np.array([[0.1, 0.4], [0.2, 0.5]]), np.full((2, 3), 2.0)
    found = conformer_figures([near, near, far], threshold=0.3).summary()
    assert found["best_rmsd"] == pytest.approx((0.1 + 0.4) / 2)
    assert found["cov_r"] == pytest.approx((0.5 + 0.5 + 0) / 3)
    assert found["cov_p"] == pytest.approx((1 + 1 + 0) / 3)
    assert found["mat_p"] == pytest.approx((0.15 + 0.15 + 2) / 3)
    assert found["cov_r_stderr"] == pytest.approx(np.std([0.5, 0.5, 0], ddof=1) / np.sqrt(3))
    assert found["best_rmsd_stderr"] > 0
    assert "cov_r_stderr" not in conformer_figures([near]).summary()
