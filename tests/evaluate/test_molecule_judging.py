"""Models of molecules, of SMILES and of conformers judged by the command line, from files to reports."""

import json
from importlib.resources import files

import numpy as np
import pytest
import yaml
from tests.evaluate.molecule_samples import chains, of_smiles

pytest.importorskip("rdkit", reason="the extra 'molecules' is not installed")
from rdkit import Chem

from perrin.cli import entry
from perrin.kinds.molecules.elements import atomic_numbers


def recipe(name, data, held_out, samples, **changes):
    """A recipe of the package, made so small that it trains for a moment."""
    made = yaml.safe_load(files("perrin").joinpath(f"recipes/{name}.yaml").read_text())
    made |= {"data": data, "held_out": held_out, "evaluation": {"samples": samples}}
    made["training"] |= {"steps": 3, "batch": 4, "cpu_seconds": None}
    made["sampling"]["steps"] = 4
    for section, options in changes.items():
        made[section] = {**made.get(section, {}), **options}
    return made


def judged(tmp_path, capsys, made, *options):
    """Figures and folder of a model that was trained for a moment."""
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(made))
    run = tmp_path / "run"
    assert entry.main(["train", str(tmp_path / "recipe.yaml"), "--out", str(run)]) == 0
    capsys.readouterr()
    assert entry.main(["evaluate", str(run), "--out", str(tmp_path / "judged"), "--json", *options]) == 0
    return json.loads(capsys.readouterr().out), tmp_path / "judged"


@pytest.fixture(scope="module")
def atoms(tmp_path_factory):
    """48 relaxed molecules in one file of arrays."""
    molecules = [of_smiles(smiles) for smiles in chains(0, 48)]
    room = max(map(len, molecules))
    numbers, places = np.zeros((48, room), np.int64), np.zeros((48, room, 3))
    for row, molecule in enumerate(molecules):
        numbers[row, : len(molecule)] = atomic_numbers(molecule.elements)
        places[row, : len(molecule)] = molecule.positions
    path = tmp_path_factory.mktemp("atoms") / "molecules.npz"
    np.savez(path, atomic_numbers=numbers, positions=places)
    return path


def test_a_model_of_positions_is_judged_and_steered(tmp_path, capsys, atoms):
    made = recipe(
        "molecules",
        {"path": str(atoms), "properties": ["logp"]},
        12,
        10,
        net={"width": 16, "pair_width": 16, "blocks": 1},
    )
    found, folder = judged(tmp_path, capsys, made, "--filter", "lipinski,qed=0.3")
    assert found["counts"] == {"generated": 10, "training": 36, "held out": 12}
    assert found["atom_stability_ceiling"] > 0.98
    assert found["sound_share"] == 0  # after three steps of training
    assert found["steered"]["logp"]["targets"][0] > found["steered"]["logp"]["targets"][1]
    assert "steered_stability" in found
    assert found["filter"]["rules"] == ["lipinski", "qed >= 0.3"]
    assert not (folder / "survivors.sdf").exists()  # nothing passed
    assert len(Chem.SDMolSupplier(str(folder / "samples.sdf"), sanitize=False)) == 10
    page = (folder / "report.html").read_text()
    assert "In three dimensions" in page
    assert "jitter 0.05" in page


def test_a_model_of_smiles_is_judged_beside_symbols(tmp_path, capsys):
    (tmp_path / "a.smi").write_text("\n".join(chains(0, 96)) + "\n")
    net = {"width": 32, "blocks": 1, "heads": 2}
    made = recipe("selfies", {"path": str(tmp_path / "a.smi")}, 24, 30, net=net)
    made["training"].pop("validation", None)
    found, folder = judged(tmp_path, capsys, made, "--filter", "qed=0.1")
    assert found["valid_share"] == found["valid_share_baseline"] == 1  # as SELFIES always are
    assert found["novel_share_ceiling"] == 1
    assert found["columns"] == {"baseline": "symbols", "control": "5-grams"}
    assert found["weight_distance_ceiling"] < found["weight_distance_baseline"]
    survivors = Chem.SDMolSupplier(str(folder / "survivors.sdf"))
    assert len(survivors) == found["filter"]["survivors"] > 0
    assert all(float(mol.GetProp("qed")) >= 0.1 for mol in survivors)


def test_conformers_are_judged_between_random_torsions_and_geometry(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PERRIN_CACHE", str(tmp_path / "cache"))
    (tmp_path / "a.smi").write_text("\n".join(chains(0, 12)) + "\n")
    made = recipe("conformers", {"path": str(tmp_path / "a.smi"), "embed": 2}, 3, 30, codec={"atoms": 20})
    found, folder = judged(tmp_path, capsys, made)
    assert found["counts"] == {"generated": 30, "molecules": 3, "references": 6}
    assert found["best_rmsd_ceiling"] < found["best_rmsd_baseline"]
    assert found["best_rmsd_gain"] == pytest.approx(1 - found["best_rmsd"] / found["best_rmsd_baseline"])
    assert found["strain_median_ceiling"] < 15 < found["strain_median_baseline"] / 5
    assert 0 <= found["cov_r"] <= 1
    assert len(Chem.SDMolSupplier(str(folder / "samples.sdf"))) == 30


def test_a_filter_is_read_before_anything_is_drawn_and_refused_where_it_means_nothing(tmp_path, capsys):
    assert entry.main(["evaluate", str(tmp_path), "--filter", "qed=2"]) == 2
    assert "qed lies between 0 and 1" in capsys.readouterr().err
    made = {
        "name": "points", "kind": "arrays", "data": {"toy": "moons"}, "held_out": 50, "net": {"name": "mlp", "width": 8},
        "training": {"steps": 2, "batch": 8}, "sampling": {"steps": 2}, "evaluation": {"samples": 20},
    }  # fmt: skip
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(made))
    run = tmp_path / "run"
    assert entry.main(["train", str(tmp_path / "recipe.yaml"), "--out", str(run)]) == 0
    capsys.readouterr()
    assert entry.main(["evaluate", str(run), "--filter", "qed=0.5"]) == 2
    assert "the evaluation of arrays has no option 'filter', but none of its own" in capsys.readouterr().err
