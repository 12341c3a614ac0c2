"""Files of molecules in, each with its errors; and what was written read back."""

import gzip

import numpy as np
import pytest

pytest.importorskip("rdkit", reason="molecules are read by RDKit: pip install 'perrin[molecules]'")
from rdkit import Chem
from rdkit.Chem import rdDepictor

from perrin.errors import PerrinError
from perrin.kinds.molecules import Molecules, open_molecules
from perrin.kinds.molecules.chemistry import from_smiles, smiles_of
from perrin.kinds.molecules.embedding import embedded

LINES = "CCO ethanol\nC[C@H](F)Cl\n\nc1ccccc1\tbenzene ring\n"


@pytest.fixture
def smi(tmp_path):
    path = tmp_path / "a.smi"
    path.write_text(LINES)
    return path


def values(dataset):
    return [dataset[index]["value"] for index in range(len(dataset))]


def test_lines_of_smiles(smi):
    dataset = open_molecules(smi)
    assert [dataset[i]["name"] for i in range(3)] == ["a.smi line 1", "a.smi line 2", "a.smi line 4"]
    molecules = values(dataset)
    assert [m.name for m in molecules] == ["ethanol", "", "benzene ring"]
    assert [len(m) for m in molecules] == [9, 8, 12]
    assert [smiles_of(m) for m in molecules] == ["CCO", "C[C@H](F)Cl", "c1ccccc1"]
    assert all(m.positions is None for m in molecules)
    assert dataset.description["positions"] == "none"


def test_compressed_lines_with_a_heading_are_the_same(smi, tmp_path):
    with gzip.open(tmp_path / "b.txt.gz", "wt") as file:
        file.write("smiles name\n" + LINES)
    assert values(open_molecules(tmp_path / "b.txt.gz")) == values(open_molecules(smi))


def test_hydrogens_may_be_left_out(smi):
    assert [len(m) for m in values(open_molecules(smi, hydrogens=False))] == [3, 4, 6]


def test_a_smiles_that_does_not_parse_is_named_with_its_line_and_reason(tmp_path):
    path = tmp_path / "a.smi"
    path.write_text("CC\nC1CC\nCC(C)(C)(C)C\n")
    with pytest.raises(PerrinError) as error:
        open_molecules(path)
    said = str(error.value)
    assert said.startswith(
        f"2 of 3 molecules of '{path}' are broken: a.smi line 2 (SMILES 'C1CC' does not parse: unclosed ring"
    )
    assert "a.smi line 3 (SMILES 'CC(C)(C)(C)C' does not parse: Explicit valence for atom # 1 C, 5" in said
    assert said.endswith("leave them out with skip_broken: true")
    dataset = open_molecules(path, skip_broken=True)
    assert len(dataset) == 1
    assert dataset.skipped == ["a.smi line 2", "a.smi line 3"]
    assert len(open_molecules(path, skip_broken=True).skipped) == 2  # as it was kept in the cache


TABLE = "Drug,logS,smiles,label\nethanol,1.1,CCO,2\nmethane,,C,0\nwater,x,O,0\n"


def test_a_table_with_a_column_of_smiles_properties_and_labels(tmp_path):
    (tmp_path / "t.csv").write_text(TABLE.replace("x,O", "-0.5,O"))
    dataset = open_molecules(tmp_path / "t.csv", properties=["logS", "weight"])
    molecules = values(dataset)
    assert [m.properties["logS"] for m in molecules] == pytest.approx([1.1, float("nan"), -0.5], nan_ok=True)
    assert [m.properties["weight"] for m in molecules] == pytest.approx([46.07, 16.04, 18.015], abs=0.01)
    assert [dataset[i]["label"] for i in range(3)] == [2, 0, 0]
    assert dataset.classes == ["0", "1", "2"]
    assert open_molecules(tmp_path / "t.csv", labels=False).classes is None
    assert open_molecules(tmp_path / "t.csv", label_column="Drug").classes == ["ethanol", "methane", "water"]
    assert dataset[1]["name"] == "t.csv line 3"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"smiles_column": "mol"},
            "has no column 'mol' but Drug, logS, smiles, label; write smiles_column: NAME",
        ),
        ({"properties": ["logS"]}, r"t.csv line 4 \(its logS is 'x', no number\)"),
        ({"properties": ["logSS"]}, "property 'logSS' is not known; did you mean 'logS'"),
        ({"properties": "logp"}, r"properties are a list: write properties: \[logp\]"),
        ({"label_column": "clas"}, "label column 'clas' is not known"),
    ],
)
def test_tables_are_refused_with_what_is_wrong(tmp_path, options, message):
    (tmp_path / "t.csv").write_text(TABLE)
    with pytest.raises(PerrinError, match=message):
        open_molecules(tmp_path / "t.csv", **options)


def placed_mol(smiles="C[C@H](F)Cl", name="m"):
    from perrin.kinds.molecules.chemistry import to_rdkit

    mol = to_rdkit(embedded(from_smiles(smiles, name=name)))
    mol.SetProp("energy", "-1.5")
    return mol


def sdf(path, *mols):
    with Chem.SDWriter(str(path)) as writer:
        for mol in mols:
            writer.write(mol)
    return path


def test_structure_files_have_positions_fields_and_stereo(tmp_path):
    mols = [placed_mol(), placed_mol("F/C=C\\F", "z"), placed_mol("[NH3+]CC([O-])=O", "ion")]
    dataset = open_molecules(sdf(tmp_path / "a.sdf", *mols), properties=["energy"])
    assert dataset[2]["name"] == "a.sdf record 3"
    for molecule, mol in zip(values(dataset), mols, strict=True):
        np.testing.assert_allclose(molecule.positions, mol.GetConformer().GetPositions(), atol=5.1e-5)
        assert molecule.elements == tuple(atom.GetSymbol() for atom in mol.GetAtoms())
        assert molecule.charges == tuple(atom.GetFormalCharge() for atom in mol.GetAtoms())
        assert molecule.properties == {"energy": -1.5}
        assert smiles_of(molecule) == Chem.MolToSmiles(Chem.RemoveHs(mol))
    assert values(dataset)[0].smiles == "C[C@H](F)Cl"


def test_structures_may_be_compressed_lack_the_last_end_and_lie_in_folders(tmp_path):
    text = sdf(tmp_path / "a.sdf", placed_mol(), placed_mol("CC")).read_text()
    (tmp_path / "in").mkdir()
    with gzip.open(tmp_path / "in" / "b.sdf.gz", "wt") as file:
        file.write(text.rstrip().removesuffix("$$$$").replace("\n", "\r\n"))
    (tmp_path / "in" / "c.xyz").write_text("1\n\nHe 0 0 0\n")
    dataset = open_molecules(tmp_path)
    assert [dataset[i]["name"] for i in range(5)] == [
        "a.sdf record 1", "a.sdf record 2", "in/b.sdf.gz record 1", "in/b.sdf.gz record 2", "in/c.xyz"
    ]  # fmt: skip
    found = values(dataset)
    assert found[:2] == found[2:4]


@pytest.mark.parametrize(
    ("smiles", "atoms"), [("C[C@H](F)Cl", 8), ("C[C@@H](F)Cl", 8), ("F/C=C\\F", 6), ("F/C=C/F", 6)]
)
def test_a_drawing_has_stereo_and_no_positions(tmp_path, smiles, atoms):
    mol = Chem.MolFromSmiles(smiles)
    rdDepictor.Compute2DCoords(mol)
    molecule = values(open_molecules(sdf(tmp_path / "a.sdf", mol)))[0]
    assert molecule.positions is None
    assert smiles_of(molecule) == smiles
    assert len(molecule) == atoms


def test_missing_hydrogens_are_placed(tmp_path):
    mol = Chem.RemoveHs(placed_mol("CCO"))
    molecule = values(open_molecules(sdf(tmp_path / "a.sdf", mol)))[0]
    assert len(molecule) == 9
    assert np.isfinite(molecule.positions).all()
    assert np.linalg.norm(molecule.positions[0] - molecule.positions[3]) == pytest.approx(1.1, abs=0.1)


def test_records_that_are_no_structures_are_named(tmp_path):
    text = sdf(tmp_path / "a.sdf", placed_mol("CC")).read_text()
    (tmp_path / "b.sdf").write_text(text + "x\n\n\nnonsense\n$$$$\n" + text)
    with pytest.raises(
        PerrinError, match=r"1 of 3 molecules .* b.sdf record 2 \(not a structure that RDKit reads"
    ):
        open_molecules(tmp_path / "b.sdf")
    assert len(open_molecules(tmp_path / "b.sdf", skip_broken=True)) == 2


XYZ = """3
energy=-76.4 name="a b" charges=0,1,-1
O 0 0 0.117
h 0 0.757 -0.47 9 9
1 0 -0.757 -0.47

1
just words
Ne 1e0 2 3
"""


def test_frames_of_xyz(tmp_path):
    (tmp_path / "a.xyz").write_text(XYZ)
    dataset = open_molecules(tmp_path / "a.xyz", properties=["energy"])
    one, other = values(dataset)
    assert one.elements == ("O", "H", "H")
    assert one.charges == (0, 1, -1)
    assert (one.name, other.name) == ("a b", "just words")
    np.testing.assert_array_equal(one.positions[1], [0, 0.757, -0.47])
    assert one.properties == {"energy": -76.4}
    np.testing.assert_array_equal(other.positions, [[1, 2, 3]])
    assert dataset[1]["name"] == "a.xyz frame 2"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("two\n\nC 0 0 0\n", "line 1: 'two' is no number of atoms, with which a frame begins"),
        ("1\n\nC 0 0 0\n4\n\nC 0 0 0\n", "ends in the frame at line 4: it should have 4 atoms and has 1"),
        ("1\n\nC 0 0\n", "line 3: 'C 0 0' is no element, x, y and z"),
        ("1\n\nXx 0 0 0\n", "line 3: element 'Xx' is not known"),
        ("1\n\nC 0 0 nan\n", "a position of the frame at line 1 is not finite"),
        ("\n", "holds no frames"),
    ],
)
def test_xyz_files_are_refused_with_the_line(tmp_path, text, message):
    (tmp_path / "a.xyz").write_text(text)
    with pytest.raises(PerrinError, match=message):
        open_molecules(tmp_path / "a.xyz")


def arrays(**changes):
    found = {
        "atomic_numbers": np.array([[6, 8, 0], [1, 1, 8]], np.uint8),
        "positions": np.arange(18, dtype=np.float32).reshape(2, 3, 3),
        "gap": np.array([0.5, 0.25]),
        "smiles": np.array(["C=O", "O"]),
        **changes,
    }
    return {key: value for key, value in found.items() if value is not None}


def test_padded_arrays(tmp_path):
    np.savez(tmp_path / "a.npz", **arrays())
    one, other = values(open_molecules(tmp_path / "a.npz", properties=["gap"]))
    assert (one.elements, other.elements) == (("C", "O"), ("H", "H", "O"))
    np.testing.assert_array_equal(one.positions, arrays()["positions"][0, :2])
    assert (one.properties, one.smiles) == ({"gap": 0.5}, "C=O")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"positions": None}, "has no array 'positions' but atomic_numbers, gap, smiles"),
        (
            {"positions": np.zeros((2, 3, 2))},
            r"positions \[2, 3, 2\] are flat, and three dimensions are needed",
        ),
        ({"positions": np.zeros((2, 2, 3))}, r"positions are \[2, 3, 3\], not float64 \[2, 2, 3\]"),
        ({"atomic_numbers": np.zeros((2, 3))}, r"atomic_numbers are whole numbers \[M, N\], not float64"),
        ({"num_atoms": np.array([2, 4])}, "num_atoms are 2 numbers up to 3"),
        (
            {"atomic_numbers": np.array([[6, 200, 0], [1, 1, 8]])},
            r"a.npz item 0 \(its 2 atoms have atomic numbers \[6, 200\]",
        ),
        ({"positions": np.full((2, 3, 3), np.nan)}, "a position is not finite"),
    ],
)
def test_arrays_are_refused_with_what_they_should_be(tmp_path, changes, message):
    np.savez(tmp_path / "a.npz", **arrays(**changes))
    with pytest.raises(PerrinError, match=message):
        open_molecules(tmp_path / "a.npz")


def test_positions_are_computed_once_where_they_are_asked_for(smi, monkeypatch):
    first = values(open_molecules(smi, embed=True))
    assert all(m.positions.shape == (len(m), 3) for m in first)
    assert smiles_of(first[1]) == "C[C@H](F)Cl"

    def again(*_):
        raise AssertionError("positions are in the cache")

    monkeypatch.setattr("perrin.kinds.molecules.survey.embedded", again)
    dataset = open_molecules(smi, embed=True)
    assert values(dataset) == first
    assert dataset.description["positions"] == "embedded"


def test_files_that_are_no_molecules(tmp_path):
    with pytest.raises(PerrinError, match="no file or folder"):
        open_molecules(tmp_path / "no.smi")
    (tmp_path / "a.pdf").write_text("x")
    with pytest.raises(PerrinError, match=r"is no file of molecules: .smi, .smiles"):
        open_molecules(tmp_path / "a.pdf")
    with pytest.raises(PerrinError, match=r"no .sdf or .xyz file in folder"):
        open_molecules(tmp_path)
    (tmp_path / "a.smi.gz").write_bytes(b"\x1f\x8b\x08oops")
    with pytest.raises(PerrinError, match="cannot read"):
        open_molecules(tmp_path / "a.smi.gz")
    (tmp_path / "e.smi").write_text("\n\n")
    with pytest.raises(PerrinError, match="holds no SMILES"):
        open_molecules(tmp_path / "e.smi")


def test_sample_tables_open(sample_data):
    path = sample_data("molecules/freesolv.csv.gz")
    dataset = Molecules.open(path, properties=["expt", "calc"], hydrogens=False)
    assert len(dataset) == 642
    assert dataset[0]["value"].properties["expt"] == pytest.approx(-11.01)


def test_sample_complexes_open(sample_data):
    dataset = Molecules.open(sample_data("complexes"))
    assert len(dataset) == 18
    assert "5x72/ligand2.sdf" in [dataset[i]["name"] for i in range(18)]
