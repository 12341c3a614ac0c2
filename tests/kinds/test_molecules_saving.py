"""Molecules out: structure files, tables, drawings and pages, with how they were made; and read back."""

import csv
import json
import re
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("rdkit", reason="molecules are written by RDKit: pip install 'perrin[molecules]'")
from rdkit import Chem, rdBase

from perrin.errors import PerrinError
from perrin.kinds.molecules import open_molecules, read_provenance
from perrin.kinds.molecules.chemistry import from_smiles, smiles_of, to_rdkit
from perrin.kinds.molecules.depict import caption, sheet
from perrin.kinds.molecules.embedding import embedded
from perrin.kinds.molecules.molecule import Molecule
from perrin.kinds.molecules.saving import read_saved, save_molecules, write_sdf
from perrin.kinds.molecules.view import _widest, fragment, save_history, save_page

SOUND = [
    "C[C@H](F)Cl",
    "F/C=C\\F",
    "c1ccc2[nH]ccc2c1",
    "CC(=O)[O-]",
    "C[NH3+]",
    "C[N+](=O)[O-]",
    "CC#N",
    "[CH2]C",
]


def wreck(seed=0):
    generator = np.random.default_rng(seed)
    elements = tuple(generator.choice(["C", "N", "O", "H"], 9))
    return Molecule(elements, positions=generator.normal(size=(9, 3)), name="wreck")


@pytest.fixture(scope="module")
def molecules():
    made = [embedded(from_smiles(smiles, name=f"m{i}")) for i, smiles in enumerate(SOUND)]
    return [replace(m, properties={"logp": 0.1 * i}) for i, m in enumerate(made)]


def made(count):
    return [{"seed": 7, "index": index, "note": 'a "b" é'} for index in range(count)]


def read(path, **options):
    dataset = open_molecules(path, **options)
    return [dataset[index]["value"] for index in range(len(dataset))]


def test_structures_come_back_as_they_were(molecules, tmp_path):
    (path,) = save_molecules(molecules, tmp_path / "a.sdf", made(len(molecules)))
    for back, molecule in zip(read(path, properties=["logp"]), molecules, strict=True):
        np.testing.assert_allclose(back.positions, molecule.positions, atol=5.1e-5)
        assert replace(back, positions=molecule.positions) == molecule
        assert smiles_of(back) == smiles_of(molecule)


def test_every_structure_reopens_in_rdkit_and_the_sound_ones_sanitised(molecules, tmp_path):
    wrecks = [wreck(seed) for seed in range(30)]
    everything = [*molecules, *wrecks]
    (path,) = save_molecules(everything, tmp_path / "a.sdf", made(len(everything)))
    with rdBase.BlockLogs():
        plain = list(Chem.SDMolSupplier(str(path), sanitize=False, removeHs=False))
        sanitised = list(Chem.SDMolSupplier(str(path), removeHs=False))
    unsound = 0
    for molecule, bare, mol in zip(everything, plain, sanitised, strict=True):
        assert bare.GetNumAtoms() == len(molecule)
        assert bare.GetConformer().Is3D()
        assert bare.HasProp("smiles") == (smiles_of(molecule) is not None)
        if smiles_of(molecule) is not None:
            assert Chem.MolToSmiles(Chem.RemoveHs(mol)) == bare.GetProp("smiles") == smiles_of(molecule)
        unsound += smiles_of(molecule) is None
    assert 5 < unsound < 31  # both sorts are among them
    back = read(path)
    assert [m.bonds for m in back[: len(molecules)]] == [m.bonds for m in molecules]


def test_each_record_says_how_it_was_made(molecules, tmp_path):
    (path,) = save_molecules(molecules[:3], tmp_path / "a.sdf", made(3))
    assert read_provenance(path) == {"items": made(3)}
    (alone,) = save_molecules(molecules[:1], tmp_path / "b.sdf", made(1))
    assert read_provenance(alone) == made(1)[0]
    mol = next(iter(Chem.SDMolSupplier(str(path))))
    assert json.loads(mol.GetProp("perrin")) == made(1)[0]
    assert mol.GetProp("bonds") == "given"


def test_a_thousand_atoms_need_the_newer_form(tmp_path):
    chain = Molecule(
        ("C",) * 1_000, positions=np.arange(3_000.0).reshape(1_000, 3), bonds=(), hydrogens=False
    )
    (path,) = save_molecules([chain], tmp_path / "a.sdf", made(1))
    assert "V3000" in path.read_text()
    assert len(read(path, hydrogens=False)[0]) == 1_000


def test_a_stream_of_structures_needs_no_more_memory_than_a_few(molecules, tmp_path):
    def stream(count):
        for index in range(count):
            yield replace(molecules[index % 3], positions=molecules[index % 3].positions + index)

    def peak(count):
        write_sdf(stream(5), tmp_path / "warm.sdf", made(5))
        tracemalloc.start()
        write_sdf(stream(count), tmp_path / "a.sdf", ({"index": index} for index in range(count)))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    few, many = peak(20), peak(1_000)
    assert many < few + 300_000  # a list of them would hold more than a megabyte
    assert (tmp_path / "a.sdf").read_text().count("$$$$") == 1_000


def test_frames_smiles_and_tables_with_their_sidecars(molecules, tmp_path):
    for suffix in (".xyz", ".smi", ".csv"):
        path, beside = save_molecules(molecules, tmp_path / f"a{suffix}", made(len(molecules)))
        assert read_provenance(path) == {"items": made(len(molecules))}
        assert beside.name == f"a{suffix}.json"
    for back, molecule in zip(read(tmp_path / "a.xyz", properties=["logp"]), molecules, strict=True):
        np.testing.assert_allclose(back.positions, molecule.positions, atol=1e-8)
        assert (back.elements, back.charges, back.properties, back.name) == (
            molecule.elements, molecule.charges, molecule.properties, molecule.name
        )  # fmt: skip
    assert [m.smiles for m in read(tmp_path / "a.smi")] == [m.smiles for m in molecules]
    assert [m.name for m in read(tmp_path / "a.smi")] == [m.name for m in molecules]
    rows = list(csv.DictReader((tmp_path / "a.csv").open()))
    assert rows[1] | {"smiles": ""} == {
        "smiles": "", "sound": "true", "name": "m1", "atoms": "6", "charge": "0", "logp": "0.1"
    }  # fmt: skip
    assert [m.smiles for m in read(tmp_path / "a.csv")] == [m.smiles for m in molecules]


def test_unsound_molecules_keep_their_line(molecules, tmp_path):
    broken = next(w for w in map(wreck, range(99)) if smiles_of(w) is None)
    save_molecules([molecules[0], broken, molecules[1]], tmp_path / "a.smi", made(3))
    lines = (tmp_path / "a.smi").read_text().splitlines()
    assert len(lines) == 3
    assert lines[0].split()[0] == molecules[0].smiles
    assert Chem.MolFromSmiles(lines[1].split()[0], sanitize=False) is not None
    save_molecules([broken], tmp_path / "a.csv", made(1))
    assert next(csv.DictReader((tmp_path / "a.csv").open()))["sound"] == "false"


def test_a_folder_holds_a_file_each(molecules, tmp_path):
    files = save_molecules(
        molecules[:2], tmp_path / "out", [{"index": 5, "label": 1}, {"index": 6}], ["a", "b"]
    )
    assert [file.name for file in files] == ["00005_b.sdf", "00006.sdf"]
    assert [m.name for m in read(tmp_path / "out")] == ["m0", "m1"]


def test_other_files_are_refused(molecules, tmp_path):
    with pytest.raises(PerrinError, match=r"saved as .sdf, .xyz, .smi, .csv, .png, .html, or into a folder"):
        save_molecules(molecules, tmp_path / "a.pdb", made(len(molecules)))
    with pytest.raises(PerrinError, match=r"m has no positions for an .xyz file; write .smi, .csv or .sdf"):
        save_molecules([from_smiles("CC", name="m")], tmp_path / "a.xyz", made(1))
    assert not list(tmp_path.iterdir())


def test_molecules_without_positions_are_drawn_flat_in_their_record(tmp_path):
    molecule = from_smiles("C[C@H](F)Cl")
    (path,) = save_molecules([molecule], tmp_path / "a.sdf", made(1))
    (back,) = read(path)
    assert back.positions is None
    assert smiles_of(back) == molecule.smiles


@pytest.mark.parametrize("suffix", [".sdf", ".xyz", ".smi", ".csv", ".png", ".html"])
def test_saved_values_tell_molecules_apart(molecules, tmp_path, suffix):
    one = save_molecules(molecules[:2], tmp_path / f"a{suffix}", made(2))[0]
    same = save_molecules(molecules[:2], tmp_path / f"b{suffix}", [{}, {}])[0]
    other = save_molecules([molecules[0], molecules[2]], tmp_path / f"c{suffix}", made(2))[0]
    assert np.array_equal(read_saved(one), read_saved(same))
    values = read_saved(other)
    assert values.shape != read_saved(one).shape or not np.array_equal(values, read_saved(one))


# drawings


def test_a_sheet_has_a_drawing_in_every_cell(molecules):
    drawn = sheet([*molecules, wreck()], columns=3)
    assert drawn.width == 3 * 260
    pixels = np.asarray(drawn.convert("L"))
    rows = np.array_split(pixels, 3)
    for row in rows:
        for cell in np.array_split(row, 3, axis=1):
            assert (cell < 128).sum() > 30  # ink
    with pytest.raises(PerrinError, match="no molecules to draw"):
        sheet([])


def test_a_caption_is_the_smiles_or_why_there_is_none(molecules):
    lines, sound = caption(molecules[0])
    assert (lines, sound) == (["C[C@H](F)Cl", "logp 0"], True)
    lines, sound = caption(from_smiles("[CH2].O.[OH]"))
    assert (lines, sound) == (["O.[CH2].[OH]", "3 pieces, 3 unpaired electrons"], True)
    broken = next(w for w in map(wreck, range(99)) if smiles_of(w) is None)
    lines, sound = caption(broken)
    assert not sound
    assert "valence" in " ".join(lines)


def test_a_sheet_is_saved_with_its_provenance(molecules, tmp_path):
    (path,) = save_molecules(molecules[:2], tmp_path / "a.png", made(2))
    assert read_provenance(path) == {"items": made(2)}
    with Image.open(path) as image:
        assert image.size == sheet(molecules[:2]).size


# pages


def content(page):
    return json.loads(re.search(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)[1])


def test_a_page_holds_the_molecules_and_needs_no_network(molecules, tmp_path):
    named = replace(molecules[0], name="</script><b>")
    path = save_page([named, *molecules[1:]], tmp_path / "a.html", {"seed": 7})
    page = path.read_text()
    assert not re.search(r"(?:src|href)\s*=|https?:|@import|url\(", page)
    assert page.count("</script>") == 2
    held = content(page)
    assert held[0]["c"][0] == "</script><b>"
    for shown, molecule in zip(held, molecules, strict=True):
        (frame,) = shown["frames"]
        assert frame["e"] == list(molecule.elements)
        assert [tuple(bond) for bond in frame["b"]] == list(molecule.bonds)
        places = np.array(frame["x"]).reshape(-1, 3)
        inside = places[:, None] - places[None]
        apart = molecule.positions[:, None] - molecule.positions[None]
        np.testing.assert_allclose(np.linalg.norm(inside, axis=-1), np.linalg.norm(apart, axis=-1), atol=3e-3)
        spread = places.std(0)
        assert spread[0] > spread[1] - 1e-3 > spread[2] - 2e-3  # the widest view faces the reader
    assert read_provenance(path) == {"seed": 7}
    mirrored = smiles_of(
        replace(molecules[0], bonds=None, positions=np.array(held[0]["frames"][0]["x"]).reshape(-1, 3))
    )
    assert mirrored == molecules[0].smiles  # turned and not mirrored


def test_the_widest_view_is_a_turn_and_never_a_mirror():
    for seed in range(20):
        axes = _widest(np.random.default_rng(seed).normal(size=(7, 3)))
        np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-12)
        assert np.linalg.det(axes) == pytest.approx(1)


def test_a_part_of_a_page_may_stand_beside_another(molecules):
    part = fragment(molecules[:2])
    assert part.startswith('<div class="molecules">')
    assert part.rstrip().endswith("</div>")
    assert " id=" not in part
    with pytest.raises(PerrinError, match="no molecules to show"):
        fragment([])


def test_a_history_shows_unknown_atoms_and_the_bonds_of_each_step(molecules, tmp_path):
    whole = molecules[0]
    begun = replace(
        whole, elements=("*",) * len(whole), positions=9 * whole.positions, bonds=None, smiles=None
    )
    half = replace(whole, bonds=None)
    page = save_history([[begun, half, whole]], tmp_path / "a.html").read_text()
    (shown,) = content(page)
    assert shown["c"][:2] == ["m0", "C[C@H](F)Cl"]
    first, second, last = shown["frames"]
    assert (set(first["e"]), first["b"]) == ({"*"}, [])
    assert second["b"] == last["b"]
    with pytest.raises(PerrinError, match=r"saved as .html, not"):
        save_page(molecules, tmp_path / "a.gif")


def test_pages_agree_on_their_last_step(molecules, tmp_path):
    moving = save_history([[molecules[1], molecules[0]]], tmp_path / "a.html")
    still = save_page([molecules[0]], tmp_path / "b.html")
    assert np.array_equal(read_saved(moving), read_saved(still))


def test_an_unsound_molecule_has_bonds_on_its_page():
    far = np.array([[0.0, 0, 0], [1.5, 0, 0], [0, 1.5, 0], [0, 0, 1.5], [-1.5, 0, 0], [0, -1.5, 0]])
    (shown,) = content(fragment([Molecule(("C",) * 6, positions=far)]))
    assert not shown["ok"]
    assert len(shown["frames"][0]["b"]) == 5
    assert to_rdkit(Molecule(("C",) * 6, positions=far), sanitize=False).GetNumBonds() == 5
