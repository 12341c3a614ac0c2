"""Files of conformers: records of one molecule are one item; SMILES are embedded once."""

import gzip

import numpy as np
import pytest

from perrin.errors import PerrinError

pytest.importorskip("rdkit")

from rdkit import Chem
from rdkit.Chem import rdDepictor

from perrin.kinds.conformers import Conformers, making, opening
from perrin.kinds.conformers.embedding import conformers
from perrin.kinds.conformers.making import make, records
from perrin.kinds.molecules.chemistry import from_smiles
from perrin.kinds.molecules.smiles_rows import smiles_lines

SMILES = ("CC[C@H](O)CN", "CC[C@@H](O)CN", "OCCc1ccncc1")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Two conformers of each molecule."""
    path = tmp_path_factory.mktemp("conformers") / "made.sdf"
    found = [conformers(from_smiles(s, hydrogens=False), 0, range(2)) for s in SMILES]
    path.write_text("".join(records(group) for group in found))
    return path, found


def test_records_of_one_molecule_are_one_item(written):
    path, found = written
    dataset = Conformers.open(path)
    assert len(dataset) == 3
    assert dataset.description["conformers"] == 6
    for index, group in enumerate(found):  # the first two differ in nothing but their stereo
        ensemble = dataset[index]["value"]
        assert ensemble.molecule.smiles == Chem.CanonSmiles(SMILES[index])
        assert np.abs(ensemble.positions - np.stack([one.positions for one in group])).max() < 1e-4


def test_explicit_hydrogens_are_left_out(written, tmp_path):
    path, _ = written
    with Chem.SDWriter(str(tmp_path / "full.sdf")) as writer:
        for mol in Chem.SDMolSupplier(str(path)):
            writer.write(Chem.AddHs(mol, addCoords=True))
    bare, full = Conformers.open(path), Conformers.open(tmp_path / "full.sdf")
    for one, other in zip(bare, full, strict=True):
        assert other["value"].molecule.elements == one["value"].molecule.elements
        assert np.abs(other["value"].positions - one["value"].positions).max() < 1e-3
        assert len(other["value"].graph.quadruples) == len(one["value"].graph.quadruples)


def test_a_packed_file_is_read(written, tmp_path):
    path, _ = written
    packed = tmp_path / "made.sdf.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert len(Conformers.open(packed)) == 3


def test_smiles_are_embedded_once(tmp_path, monkeypatch):
    path = tmp_path / "some.smi"
    path.write_text("".join(f"{smiles}\n" for smiles in SMILES))
    first = Conformers.open(path, embed=2, limit=2)
    assert len(first) == 2
    assert first[0]["value"].positions.shape == (2, 6, 3)
    monkeypatch.setattr(making, "conformers", lambda *_: pytest.fail("embedded again"))
    again = Conformers.open(path, embed=2, limit=2)
    assert np.array_equal(again[1]["value"].positions, first[1]["value"].positions)


def test_a_file_that_was_begun_is_gone_on_with(tmp_path):
    path = tmp_path / "some.smi"
    path.write_text("".join(f"{smiles}\n" for smiles in SMILES))
    whole, parts = tmp_path / "whole.sdf", tmp_path / "parts.sdf"
    make(smiles_lines(path), whole, 2)
    make(smiles_lines(path), parts, 2, 1)
    with parts.open("a") as file:
        file.write("half a record" * 1_000)  # as a kill leaves it
    make(smiles_lines(path), parts, 2)
    assert parts.read_bytes() == whole.read_bytes()


def test_broken_molecules_are_listed_or_left_out(tmp_path):
    path = tmp_path / "some.smi"
    path.write_text("CCCO\nCCX\nCCCN\nC1#CC1\n")
    with pytest.raises(PerrinError, match=r"2 molecules .*line 2 \(SMILES 'CCX' does not parse"):
        Conformers.open(path, embed=1)
    dataset = Conformers.open(path, embed=1, broken="skip")
    assert len(dataset) == 2
    assert "line 4 (no positions" in dataset.skipped[1]


def test_drawings_are_refused(tmp_path):
    mol = Chem.MolFromSmiles("CCCCO")
    rdDepictor.Compute2DCoords(mol)
    path = tmp_path / "flat.sdf"
    path.write_text(Chem.MolToMolBlock(mol) + "$$$$\n")
    with pytest.raises(PerrinError, match="two dimensions"):
        Conformers.open(path)


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("none.sdf", {}, "no file"),
        ("some.smi", {}, "embed: 3"),
        ("made.sdf", {"embed": 2}, "holds conformers"),
        ("made.sdf", {"limit": 2}, "holds conformers"),
        ("made.sdf", {"broken": "mend"}, "'refuse' or 'skip'"),
    ],
)
def test_what_is_refused(written, tmp_path, name, options, says):
    (tmp_path / "some.smi").write_text("CCO\n")
    (tmp_path / "made.sdf").write_bytes(written[0].read_bytes())
    with pytest.raises(PerrinError, match=says):
        opening.open_conformers(tmp_path / name, **options)
