"""From a file of conformers to a trained model and conformers of a molecule that it has not seen."""

import json

import numpy as np
import pytest
import torch

import perrin
from perrin.errors import PerrinError

pytest.importorskip("rdkit")

from rdkit import Chem

from perrin.kinds.conformers.embedding import conformers
from perrin.kinds.conformers.making import records
from perrin.kinds.molecules.chemistry import from_smiles
from perrin.kinds.provenance import read_provenance
from perrin.reproduction import reproduce

SMILES = ("CCCCO", "OCCc1ccncc1", "CC(=O)NCC", "CCC[C@H](C)N", "CCOCC", "NCCS")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("conformers")
    found = [conformers(from_smiles(s, hydrogens=False), 0, range(2)) for s in SMILES]
    (folder / "made.sdf").write_text("".join(records(group) for group in found))
    perrin.train(
        "conformers",
        data={"path": str(folder / "made.sdf")},
        held_out=0,
        net={
            "name": "torsion",
            "width": 16,
            "pairs": 12,
            "bonded": 1,
            "blocks": 1,
            "radial": 8,
            "channels": 2,
        },
        training={"steps": 4, "batch": 4, "threads": 1},
        out=folder / "run",
    )
    return perrin.load(folder / "run")


def test_conformers_of_an_unseen_molecule(model, tmp_path):
    samples = model.sample(3, smiles="CC(N)C(=O)NCCO", seed=5)
    (path,) = samples.save(tmp_path / "made.sdf")
    read = list(Chem.SDMolSupplier(str(path), removeHs=False))
    assert [Chem.CanonSmiles(Chem.MolToSmiles(Chem.RemoveHs(m))) for m in read] == [
        samples.decoded[0].smiles
    ] * 3
    assert all(m.GetConformer().Is3D() for m in read)
    assert samples.state["torsions"].shape == (3, 4)
    alone = model.sample(1, smiles="CC(N)C(=O)NCCO", seed=5, first=2)
    assert np.abs(alone.decoded[0].positions - samples.decoded[2].positions).max() < 1e-3
    provenance = json.loads(read[0].GetProp("perrin"))
    assert provenance["wanted"] == {"smiles": "CC(N)C(=O)NCCO"}


def test_a_file_is_made_again(model, tmp_path):
    (path,) = model.sample(2, smiles="CCOCCN", seed=1).save(tmp_path / "made.sdf")
    assert read_provenance(path)["items"][0]["wanted"] == {"smiles": "CCOCCN"}
    assert reproduce(path, model=str(model.folder)).identical


def test_a_rigid_molecule_is_drawn(model):
    samples = model.sample(2, smiles="c1ccncc1")
    assert (samples.state["torsions"] == 0).all()
    assert len(samples.decoded[0]) == 11


def test_without_a_molecule_those_of_training_are_drawn(model):
    drawn = model.sample(2)
    assert [m.smiles for m in drawn.decoded] == model.codec.examples[:2]


def test_how_they_came_about_is_a_page(model, tmp_path):
    path = model.sample(1, smiles="CCCCN", steps=3, trace=True).save_trajectory(tmp_path / "made.html")
    assert "C" in path.read_text()


def test_torsions_stay_on_the_circle(model):
    state = model.sample(4, smiles="CCCCCCN", seed=2).state["torsions"]
    assert state.abs().max() <= np.pi
    assert state.std() > 0.5
    assert not torch.equal(state[0], state[1])


def test_a_molecule_that_is_not_known_is_refused(model):
    with pytest.raises(PerrinError, match="this model knows"):
        model.sample(1, smiles="CCCBr")
