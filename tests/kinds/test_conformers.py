"""The kind of conformers: graphs and torsions, states and back, what a request settles."""

import numpy as np
import pytest
import torch

from perrin.errors import PerrinError
from perrin.kinds.conformers import ConformerCodec, Ensemble
from perrin.nets.turning import dihedrals, turned

pytest.importorskip("rdkit")

from rdkit import Chem
from rdkit.Chem import rdMolTransforms

from perrin.kinds.conformers import outlining
from perrin.kinds.conformers.embedding import conformers, decided
from perrin.kinds.conformers.graph import graph_of
from perrin.kinds.molecules.chemistry import from_smiles, to_rdkit
from perrin.kinds.molecules.molecule import Molecule

PERINDOPRIL = "CCC[C@@H](C(=O)OCC)N[C@@H](C)C(=O)N1[C@H]2CCCC[C@H]2C[C@H]1C(=O)O"
MOLECULES = (PERINDOPRIL, "C[NH+](C)CCOc1ccc(Cl)cc1", "FC(F)(F)c1cc(NC(=O)/C=C/c2ccco2)n[nH]1", "c1ccccc1")


def plain(smiles):
    return from_smiles(smiles, hydrogens=False)


@pytest.fixture(scope="module")
def ensembles():
    return [Ensemble.of(conformers(plain(smiles), 3, range(2))) for smiles in MOLECULES]


@pytest.fixture(scope="module")
def items(ensembles):
    return [{"value": e, "label": None, "name": s} for e, s in zip(ensembles, MOLECULES, strict=True)]


@pytest.fixture(scope="module")
def codec(items):
    return ConformerCodec.fit(items_dataset(items))


def items_dataset(items):
    class Listed(list):
        classes = None

    return Listed(items)


@pytest.mark.parametrize(
    ("smiles", "count"),
    [
        ("CCCC", 1),
        ("Cc1ccccc1", 0),
        ("c1ccccc1-c1ccccc1", 1),
        ("CC(=O)NC", 1),
        ("CC/C=C/CC", 2),
        ("CC#CC", 0),
        ("CCCC#N", 1),
        ("CCC#N", 0),
        ("CC1CCCCC1CC", 1),
        ("C", 0),
        ("CS(=O)(=O)Nc1ccccc1", 2),
        ("CC(C)(C)C(C)(C)C", 1),
    ],
)
def test_bonds_that_turn(smiles, count):
    assert len(graph_of(plain(smiles)).quadruples) == count


def test_the_smaller_side_turns(ensembles):
    for ensemble in ensembles:
        graph = ensemble.graph
        for (i, j, k, end), moves in zip(graph.quadruples, graph.moves, strict=True):
            assert moves[k]
            assert moves[end]
            assert not moves[i]
            assert not moves[j]
            assert 2 * moves.sum() <= len(moves)
            crossing = (graph.bonds > 0) & moves[:, None] & ~moves[None]
            assert crossing.sum() == 1
            assert crossing[k, j]


def test_dihedral_angles_are_rdkits(items, codec, ensembles):
    torsions = codec.encode(items).state["torsions"]
    for row, ensemble in zip(torsions, ensembles, strict=True):
        conformer = Chem.Conformer(len(ensemble.molecule))
        conformer.SetPositions(ensemble.positions[0].astype(np.float64))
        mol = to_rdkit(ensemble.molecule)
        mol.AddConformer(conformer)
        for found, quadruple in zip(row, ensemble.graph.quadruples, strict=False):
            wanted = rdMolTransforms.GetDihedralRad(mol.GetConformer(), *map(int, quadruple))
            assert abs(np.angle(np.exp(1j * (found.item() - wanted)))) < 1e-4


def test_a_state_has_one_conformers_torsions_and_anothers_local_structure(items, codec, ensembles):
    batch = codec.encode(items)
    made = turned(*(batch.condition[n] if n != "torsions" else batch.state[n] for n in TURNED))
    for places, ensemble in zip(made, ensembles, strict=True):
        graph, count = ensemble.graph, len(ensemble.molecule)
        near = (graph.bonds > 0) | ((graph.bonds > 0) @ (graph.bonds > 0))
        found, first, last = (
            np.linalg.norm(x[:, None] - x, axis=2)
            for x in (places[:count].numpy(), ensemble.positions[0], ensemble.positions[1])
        )
        assert np.abs(found - last)[near].max() < 1e-4
        assert np.abs(first - last).max() > 0.1 or not len(graph.quadruples)
    shapes = {name: tuple(value.shape[1:]) for name, value in batch.state.items()}
    assert shapes == codec.shape
    assert torch.equal(batch.masks.valid["torsions"], batch.condition["quadruples"][:, :, 0] >= 0)
    assert (batch.state["torsions"][~batch.masks.valid["torsions"]] == 0).all()


TURNED = ("positions", "torsions", "quadruples", "moves")


def test_a_single_conformer_comes_back(ensembles, codec):
    alone = [Ensemble(e.molecule, e.positions[:1]) for e in ensembles]
    items = [{"value": e, "label": None, "name": ""} for e in alone]
    batch = codec.encode(items)
    for molecule, ensemble in zip(codec.decode_given(batch.state, batch.condition), alone, strict=True):
        count = len(ensemble.molecule)
        assert molecule.elements[:count] == ensemble.molecule.elements
        assert molecule.charges[:count] == ensemble.molecule.charges
        assert molecule.smiles == ensemble.molecule.smiles  # stereo too, from the positions
        wanted = ensemble.positions[0] - ensemble.positions[0].mean(0)
        found = molecule.positions[:count] - molecule.positions[:count].mean(0)
        u, _, v = np.linalg.svd(found.T @ wanted)
        u[:, -1] *= np.sign(np.linalg.det(u @ v))
        assert np.abs(found @ u @ v - wanted).max() < 1e-4


def test_hydrogens_are_placed_unless_told_not_to(items, codec):
    batch = codec.encode(items)
    full = codec.decode_given(batch.state, batch.condition)
    bare = ConformerCodec.from_config({**codec.config(), "hydrogens": False})
    for one, other, smiles in zip(
        full, bare.decode_given(batch.state, batch.condition), MOLECULES, strict=True
    ):
        assert len(one) == Chem.AddHs(Chem.MolFromSmiles(smiles)).GetNumAtoms()
        assert len(other) == Chem.MolFromSmiles(smiles).GetNumAtoms()
        distances = np.linalg.norm(one.positions[:, None] - one.positions, axis=2) + 9 * np.eye(len(one))
        assert 0.8 < distances.min() < 1.3


def test_encoding_is_a_function_of_the_item_and_its_seed(items, codec):
    both = codec.encode(items, [5, 6, 7, 8])
    for row, (item, seed) in enumerate(zip(items, [5, 6, 7, 8], strict=True)):
        one = codec.encode([item], [seed])
        assert torch.equal(one.state["torsions"][0], both.state["torsions"][row])
        assert all(torch.equal(one.condition[n][0], both.condition[n][row]) for n in one.condition)
    drawn = {
        tuple(codec.encode([items[0]], [s]).state["torsions"][0].tolist())
        for s in range(12)
    }  # fmt: skip
    assert len(drawn) == 2  # either conformer's torsions


def test_the_config_is_the_codec(codec):
    assert ConformerCodec.from_config(codec.config()) == codec
    with pytest.raises(PerrinError, match="codec option"):
        ConformerCodec.from_config({**codec.config(), "tortions": 3})


def test_larger_molecules_are_left_out_of_training(items):
    small = ConformerCodec.fit(items_dataset(items), atoms=20)
    assert (small.atoms, small.torsions) == (20, 5)
    with pytest.raises(PerrinError, match="26 heavy atoms"):
        small.encode(items)
    with pytest.raises(PerrinError, match="none of the molecules"):
        ConformerCodec.fit(items_dataset(items), atoms=6)


def test_an_outline_is_the_same_however_many_are_drawn(codec):
    many, one = (codec.outline(n, 4, f, smiles=PERINDOPRIL) for n, f in ((3, 0), (1, 2)))
    assert all(torch.equal(many.condition[name][2:], one.condition[name]) for name in one.condition)
    assert many.shape == {"torsions": (len(graph_of(plain(PERINDOPRIL)).quadruples),)}
    assert many.about[2] == {"smiles": PERINDOPRIL}
    assert (many.condition["positions"][0] - many.condition["positions"][1]).abs().max() > 0.1
    molecules = codec.decode_given({"torsions": torch.zeros(3, *many.shape["torsions"])}, many.condition)
    assert {molecule.smiles for molecule in molecules} == {plain(PERINDOPRIL).smiles}


def test_a_rigid_molecule_is_its_embedded_structure(codec):
    outline = codec.outline(2, 0, 0, smiles="c1ccccc1")
    assert outline.shape == {"torsions": (1,)}
    assert not outline.masks.valid["torsions"].any()
    benzene = codec.decode_given({"torsions": torch.full((2, 1), 0.7)}, outline.condition)[0]
    carbons = benzene.positions[:6]
    assert np.allclose(np.linalg.norm(carbons - carbons.mean(0), axis=1), 1.39, atol=0.03)


def test_several_molecules_are_drawn_together(codec):
    outline = codec.outline(3, 0, 0, smiles=["CCO", PERINDOPRIL, "CCCO"])
    made = codec.decode_given({"torsions": torch.zeros(3, *outline.shape["torsions"])}, outline.condition)
    assert [Chem.CanonSmiles(m.smiles) for m in made] == [
        Chem.CanonSmiles(a["smiles"]) for a in outline.about
    ]
    assert codec.outline(2, 0, 1).about[0] == {"smiles": codec.examples[1]}


def test_open_stereo_is_decided_once():
    drawn = conformers(plain("CC(O)C(N)C=CC"), 0, range(3))
    assert len({one.smiles for one in drawn}) == 1
    assert "@" in drawn[0].smiles
    assert decided(plain(PERINDOPRIL)).smiles == plain(PERINDOPRIL).smiles


@pytest.mark.parametrize(
    ("smiles", "says"),
    [
        ("CCX", "does not parse"),
        ("CCB(O)O", "atoms of B; this model knows C, N, O, F, Cl"),
        ("C" * 40, "40 heavy atoms and 37 bonds that turn"),
        ("CCO.CCN", "several molecules"),
        (["CCO"], "1 SMILES for 2"),
    ],
)
def test_requests_that_are_refused(codec, smiles, says):
    with pytest.raises(PerrinError, match=says):
        codec.outline(2, 0, 0, smiles=smiles)


def test_a_wish_that_is_none_is_refused(codec):
    with pytest.raises(PerrinError, match="logp"):
        codec.outline(1, 0, 0, smiles="CCO", logp=2.0)


def test_a_molecule_that_has_no_places_is_refused(codec):
    with pytest.raises(PerrinError, match="no positions can be found"):
        codec.outline(1, 0, 0, smiles=IMPOSSIBLE)


IMPOSSIBLE = "C1#CC1"


def test_states_that_are_refused(codec, items):
    batch = codec.encode(items)
    with pytest.raises(PerrinError, match="not finite"):
        codec.decode_given({"torsions": batch.state["torsions"] * torch.nan}, batch.condition)
    with pytest.raises(PerrinError, match="decode_given"):
        codec.decode(batch.state)
    with pytest.raises(PerrinError, match="str, not a molecule"):
        codec.encode([{"value": "CCO", "label": None, "name": "it"}])


def test_a_molecule_with_positions_is_an_item(codec, ensembles):
    first = ensembles[1]
    molecule = Molecule(
        first.molecule.elements, first.molecule.charges, first.positions[0], first.molecule.bonds,
        first.molecule.smiles, hydrogens=False,
    )  # fmt: skip
    one = codec.encode([{"value": molecule, "label": None, "name": ""}])
    graph = first.graph
    wanted = dihedrals(torch.from_numpy(first.positions[:1]), torch.from_numpy(graph.quadruples)[None])
    assert torch.allclose(one.state["torsions"][:, : len(graph.quadruples)], wanted, atol=1e-4)


def test_refusals_come_before_embedding(codec, monkeypatch):
    monkeypatch.setattr(outlining, "conformers", lambda *_: pytest.fail("embedded in vain"))
    with pytest.raises(PerrinError, match="heavy atoms"):
        codec.outline(1, 0, 0, smiles="C" * 40)
