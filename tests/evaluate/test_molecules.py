"""Samples whose faults are known beside real molecules: each fault shows in its own figure."""

import json
from dataclasses import replace

import numpy as np
import pytest
from tests.evaluate.molecule_samples import (
    BROKEN,
    DATA,
    METHANE,
    WATER,
    chains,
    dataset,
    needs_data,
    of_smiles,
)

pytest.importorskip("rdkit", reason="the extra 'molecules' is not installed")
from rdkit import Chem

from perrin.errors import PerrinError
from perrin.evaluate import rows, write_report
from perrin.evaluate.molecule_copies import known_molecules, nearest_known, newness, unique_share
from perrin.evaluate.molecule_distances import length_distances, property_distances
from perrin.evaluate.molecule_filter import Filter
from perrin.evaluate.molecule_page import filter_figures, pictures, write_survivors
from perrin.evaluate.molecule_reading import PROPERTIES, read_all
from perrin.evaluate.molecules import molecule_figures
from perrin.kinds.molecules.opening import open_molecules


@pytest.fixture(scope="module")
def shelf():
    """48 training and 48 test molecules with relaxed positions, the latter with their bonds."""
    made = [of_smiles(smiles) for smiles in chains(0, 96)]
    return [replace(one, bonds=None) for one in made[:48]], made[48:]


@pytest.fixture(scope="module")
def judged(shelf):
    train, test = shelf
    return molecule_figures([replace(one, bonds=None) for one in test[:24]], [dataset(train)], dataset(test))


def test_real_molecules_reach_their_ceilings(judged):
    found, sets = judged
    for name in (
        "sound_share",
        "atom_stability",
        "valid_share",
        "connected_share",
        "unique_share",
        "novel_share",
    ):
        assert found[name] >= found[f"{name}_ceiling"] - 0.1
        assert found[f"{name}_ceiling"] > 0.9
    assert found["bonds"] == {"perceived": 24}
    assert found["counts"] == {"generated": 24, "training": 48, "held out": 48}
    assert found["columns"] == {
        "baseline": "jitter 0.1 \N{ANGSTROM SIGN}",
        "control": "jitter 0.05 \N{ANGSTROM SIGN}",
    }
    assert len(sets.trivial["_baseline"]) == 48
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_jitter_stands_between_real_and_nothing(judged):
    found, sets = judged
    assert {reading.bonds for reading in sets.real} == {"perceived"}  # as those of the samples are
    assert (
        found["atom_stability_baseline"] < found["atom_stability_control"] < found["atom_stability_ceiling"]
    )
    assert found["sound_share_baseline"] < 0.1 < 0.9 < found["sound_share_ceiling"]
    assert found["valid_share_control"] > 0.9  # RDKit does not mind
    assert (
        found["strain_median_ceiling"] < 5 < found["strain_median_control"] < found["strain_median_baseline"]
    )
    distances = [found[f"bond_length_distance{suffix}"] for suffix in ("_ceiling", "_control", "_baseline")]
    assert distances == sorted(distances)
    assert distances[1] == pytest.approx(
        0.0475, rel=0.3
    )  # both ends move: 0.8 x 0.05 x sqrt(2) along the bond, less its own


def test_copies_are_valid_different_and_not_new(shelf):
    train, test = shelf
    found, _ = molecule_figures(train[:24], [dataset(train)], dataset(test))
    assert found["sound_share"] > 0.9
    assert (found["novel_share"], found["identical_share"], found["nearest_similarity"]) == (0, 1, 1)
    assert found["identical_share_ceiling"] == 0


def test_one_molecule_again_and_again_is_not_different(shelf):
    train, test = shelf
    found, _ = molecule_figures([test[0]] * 20, [dataset(train)], dataset(test))
    assert found["unique_share"] == 1 / 20
    assert found["novel_share"] == 1
    assert found["weight_distance"] > 2 * found["weight_distance_ceiling"]


def test_wrecks_are_counted_by_reason(shelf):
    train, test = shelf
    crowd = replace(METHANE, positions=METHANE.positions * 0.3)
    found, _ = molecule_figures([BROKEN] * 3 + [crowd] * 2 + [WATER], [dataset(train)], dataset(test))
    assert found["valid_share"] == pytest.approx(4 / 6)
    assert found["connected_share"] == found["sound_share"] == pytest.approx(1 / 6)
    assert sum(found["problems"].values()) == 2
    assert found["sound_share_stderr"] == pytest.approx(np.sqrt(1 / 6 * 5 / 6 / 6))
    assert "logp_distance" not in found  # of six molecules there is no law


def test_none_valid_leaves_figures_out_and_breaks_nothing(shelf):
    train, test = shelf
    found, sets = molecule_figures(["C1CC", "(", ""], [dataset(train)], dataset(test))
    assert found["valid_share"] == 0
    assert found["unique_share"] is found["novel_share"] is None
    assert json.dumps(found, allow_nan=False)
    assert pictures(["C1CC", "(", ""], sets)["Samples"] is None
    with pytest.raises(PerrinError, match="no molecules"):
        molecule_figures([], [dataset(train)], dataset(test))


def test_smiles_are_judged_without_places(shelf):
    train, test = chains(0, 48), chains(48, 96)
    trivial = {"_baseline": ("symbols", ["CC(", "CO", "COC"] * 10)}
    found, sets = molecule_figures(test[:24], [dataset(train)], dataset(test), trivial=trivial)
    assert found["valid_share"] == found["novel_share"] == 1
    assert "atom_stability" not in found
    assert "bond_length_distance" not in found
    assert found["valid_share_baseline"] == pytest.approx(2 / 3)
    assert found["columns"] == {"baseline": "symbols"}
    assert found["weight_distance_baseline"] > found["weight_distance"]
    assert pictures(test, sets)["Bond lengths"] is None
    with_places = molecule_figures(test[:24], [dataset(shelf[0])], dataset(shelf[1]))[0]
    assert with_places["novel_share"] == 1  # real molecules with positions beside samples without


def test_distances_are_in_units_of_the_real_spread():
    real = read_all(chains(0, 96))
    heavier = read_all([f"{smiles}" for smiles in chains(0, 96)])
    shifted = [replace(r, properties=r.properties + 14.0) for r in heavier]
    found = property_distances({"": shifted}, real)
    spread = np.std([r.properties[PROPERTIES.index("weight")] for r in real])
    assert found["weight_distance"] == pytest.approx(14 / spread)
    assert found["properties"]["weight"]["distance"] == pytest.approx(14)
    assert found["weight_distance_stderr"] > 0
    lengths = [replace(r, lengths={"C-H": np.full(4, 1.09 + i / 1000)}) for i, r in enumerate(real)]
    longer = [replace(r, lengths={"C-H": r.lengths["C-H"] + 0.02, "X-Y": np.ones(9)}) for r in lengths]
    moved = length_distances({"": longer}, lengths)
    assert moved["bond_length_distance"] == pytest.approx(0.02)
    assert list(moved["bond_lengths"]) == ["C-H"]


def test_newness_ignores_stereo_and_the_way_a_smiles_is_written():
    known = known_molecules(["C[C@H](N)O", "OCC", "not one"])
    readings = read_all(["C[C@@H](N)O", "CCO", "CCCO"])
    found = newness(readings, known)
    assert found["identical_share"] == pytest.approx(2 / 3)
    assert found["novel_share"] == pytest.approx(1 / 3)
    assert unique_share(read_all(["CCO", "OCC", "CN", "C.C"])) == pytest.approx(
        2 / 3
    )  # what is in pieces is left out
    near = nearest_known(readings, known)
    assert near.similarity[:2].tolist() == [1, 1]
    assert near.indices[:2].tolist() == [0, 1]
    assert near.similarity[2] < 1


def test_the_page_and_the_survivors(tmp_path, judged, shelf):
    found, sets = judged
    values = [*shelf[1][:24], BROKEN]
    middle = float(np.median([reading.properties[PROPERTIES.index("qed")] for reading in sets.samples]))
    rules = Filter(lipinski=True, qed=middle)
    kept = rules.keep(values)
    assert len(kept.indices) == 12
    shown = found | filter_figures(rules, kept)
    path = write_survivors(
        tmp_path / "survivors.sdf", values, [{"seed": 0, "index": i} for i in range(25)], kept
    )
    records = list(Chem.SDMolSupplier(str(path), removeHs=False))
    assert all(record is not None for record in records)
    qed = [float(record.GetProp("qed")) for record in records]
    assert len(qed) == len(kept.indices)
    assert qed == sorted(qed, reverse=True)
    assert min(qed) >= middle
    np.testing.assert_allclose(
        records[0].GetConformer().GetPositions(), values[kept.indices[0]].positions, atol=1e-4
    )
    assert f'"index": {kept.indices[0]}' in path.read_text().split("$$$$")[0]
    page = write_report(tmp_path / "r.html", title="t", figures=shown, pictures=pictures(values, sets, kept))
    text = page.read_text()
    for words in (
        "Sound molecules",
        "jitter 0.05",
        "Survivors of the filter",
        "Nearest training molecules",
        "Bond lengths",
    ):
        assert words in text
    row = next(row for row in rows(shown) if row.name == "filter_share")
    assert row.value == pytest.approx(len(kept.indices) / 25)


@needs_data
def test_training_molecules_read_from_their_positions_are_known():
    data = open_molecules(DATA / "qm7_3d.npz")
    values = [data[i]["value"] for i in range(0, len(data), 100)]
    found = newness(read_all([replace(v, smiles=None) for v in values]), known_molecules(values))
    assert found["identical_share"] >= 0.98  # the file's SMILES were perceived the same way
