"""The codec of molecules: states and back, what is asked of samples, and the pieces that a model grows from."""

import json
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("rdkit", reason="molecules need RDKit: pip install 'perrin[molecules]'")

from perrin.contracts import Cuts, Outlines
from perrin.errors import PerrinError
from perrin.kinds.molecules import Molecules
from perrin.kinds.molecules.chemistry import from_smiles, smiles_of, with_bonds
from perrin.kinds.molecules.codec import MoleculeCodec
from perrin.kinds.molecules.embedding import embedded
from perrin.kinds.molecules.fragments import pieces, random_piece
from perrin.kinds.molecules.layout import Layout
from perrin.kinds.molecules.molecule import Molecule
from perrin.kinds.molecules.targets import Targets, measured

SMILES = ["CCO", "C[C@H](F)Cl", "c1ccccc1", "CC(=O)[O-]", "C[NH3+]", "N#Cc1ccc[nH]1", "C1CC1", "OCC(O)CO", "C", "FC(F)F",
          "Cc1ccccc1O", "CC(C)C"]  # fmt: skip


class Held:
    """Molecules in memory as a dataset."""

    classes = None
    skipped = ()

    def __init__(self, molecules, names=("weight",)):
        self.molecules = molecules
        self.description = {"properties": list(names)}

    def __len__(self):
        return len(self.molecules)

    def __getitem__(self, index):
        return {"value": self.molecules[index], "label": None, "name": f"m{index}"}

    def take(self, positions, **facts):
        found = Held([self.molecules[i] for i in positions])
        found.description |= facts
        return found


@pytest.fixture(scope="module")
def molecules():
    found = [embedded(from_smiles(smiles)) for smiles in SMILES]
    return [replace(m, properties={"weight": 10.0 * len(m)}) for m in found]


@pytest.fixture(scope="module")
def held(molecules):
    return Held(molecules)


@pytest.mark.parametrize("bonds", [False, True])
def test_molecules_come_back_from_their_states(held, molecules, bonds):
    codec = MoleculeCodec.fit(held, bonds=bonds)
    assert isinstance(codec, Outlines)
    assert isinstance(codec, Cuts)
    assert codec.elements == ("H", "C", "N", "O", "F", "Cl")
    assert codec.charges == (-1, 0, 1)
    batch = codec.encode([held[i] for i in range(len(held))], range(len(held)))
    assert {leaf: tuple(v.shape[1:]) for leaf, v in batch.state.items()} == codec.shape
    assert batch.state["positions"].dtype == torch.float32
    for decoded, molecule in zip(codec.decode(batch.state), molecules, strict=True):
        assert decoded.elements == molecule.elements
        assert decoded.charges == molecule.charges
        assert decoded.bonds == (molecule.bonds if bonds else None)
        np.testing.assert_allclose(
            decoded.positions, molecule.positions - molecule.positions.mean(0), atol=1e-5
        )
        if bonds or not any(molecule.charges):  # perceiving knows no ion beside a molecule of no charge
            assert smiles_of(decoded) == molecule.smiles


def test_qm7_comes_back(sample_data):
    dataset = Molecules.open(sample_data("molecules/qm7_3d.npz"), properties=["energy_kcal_mol"])
    codec = MoleculeCodec.fit(dataset)
    assert codec.shape == {"positions": (23, 3), "atoms": (23,)}
    assert codec.elements == ("H", "C", "N", "O", "S")
    items = [dataset[i] for i in range(0, len(dataset), 100)]
    batch = codec.encode(items)
    assert torch.allclose(batch.state["positions"].sum(1), torch.zeros(len(items), 3), atol=1e-4)
    for item, decoded in zip(items, codec.decode(batch.state), strict=True):
        molecule = item["value"]
        np.testing.assert_allclose(
            decoded.positions, molecule.positions - molecule.positions.mean(0), atol=1e-5
        )
        assert decoded.elements == molecule.elements
        assert smiles_of(decoded) == smiles_of(molecule)
    assert [codec.length(u) for u in (0.0, 0.5, 1.0)] == [4, 15, 23]


def test_states_are_padded_and_the_masks_say_where(held, molecules):
    codec = MoleculeCodec.fit(held, bonds=True)
    batch = codec.encode([held[8], held[10]])
    assert batch.masks.observed is None
    for row, molecule in enumerate((molecules[8], molecules[10])):
        n = len(molecule)
        assert batch.masks.valid["atoms"][row].tolist() == [i < n for i in range(codec.atoms)]
        assert (batch.state["atoms"][row] >= 0).tolist() == batch.masks.valid["atoms"][row].tolist()
        assert (batch.state["bonds"][row] >= 0).tolist() == batch.masks.valid["bonds"][row].tolist()
        assert int(batch.masks.valid["bonds"][row].sum()) == n * (n - 1) // 2
        assert not batch.state["positions"][row, n:].any()
    alone = codec.encode([held[10]])
    assert all(torch.equal(alone.state[leaf][0], batch.state[leaf][1]) for leaf in batch.state)


def test_the_deviation_counts_the_degrees_of_freedom():
    generator = np.random.default_rng(0)
    cloud = Held(
        [Molecule(("C",) * 4, positions=3 * generator.normal(size=(4, 3))) for _ in range(3_000)], ()
    )
    assert MoleculeCodec.fit(cloud).sigma_data == pytest.approx(3, rel=0.02)


def test_its_config_is_json_and_complete(held):
    codec = MoleculeCodec.fit(held, bonds=True, scaffolds=0.3, rotate=True)
    config = json.loads(json.dumps(codec.config()))
    assert MoleculeCodec.from_config(config) == codec
    with pytest.raises(PerrinError, match="codec option 'atom' is not known; did you mean 'atoms'"):
        MoleculeCodec.from_config({**config, "atom": 3})


def test_the_vector_is_standardised_and_a_missing_property_is_nan(held, molecules):
    codec = MoleculeCodec.fit(held)
    vector = codec.encode([held[i] for i in range(len(held))]).condition["vector"]
    assert vector.mean() == pytest.approx(0, abs=1e-6)
    assert vector.std(unbiased=False) == pytest.approx(1, abs=1e-6)
    bare = {"value": replace(molecules[0], properties={}), "label": None, "name": "x"}
    assert codec.encode([bare]).condition["vector"].isnan().all()
    assert MoleculeCodec.fit(held, properties=[]).encode([held[0]]).condition is None
    with pytest.raises(PerrinError, match="property of the data 'wight' is not known; did you mean 'weight'"):
        MoleculeCodec.fit(held, properties=["wight"])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            Molecule(("C", "Br"), positions=np.eye(2, 3)),
            r"'x' holds Br \(atom 2\); this model's elements are H, C, N, O, F, Cl",
        ),
        (
            Molecule(("C", "N"), (0, 2), np.eye(2, 3)),
            r"'x' holds N of charge \+2 \(atom 2\); this model's charges are -1, 0, \+1",
        ),
        (
            Molecule(("C",) * 40, positions=np.zeros((40, 3))),
            "'x' has 40 atoms; this model holds molecules of up to 16",
        ),
        (from_smiles("C"), "'x' has no positions in three dimensions .* embed: true"),
    ],
)
def test_molecules_that_are_not_the_models_are_refused(held, value, message):
    codec = MoleculeCodec.fit(held)
    with pytest.raises(PerrinError, match=message):
        codec.encode([{"value": value, "label": None, "name": "x"}])


def test_fitting_refuses_what_it_cannot_use(held):
    with pytest.raises(PerrinError, match="the dataset is empty"):
        MoleculeCodec.fit(Held([]))
    with pytest.raises(PerrinError, match="'m0' has no positions in three dimensions"):
        MoleculeCodec.fit(Held([from_smiles("CC")]))
    with pytest.raises(PerrinError, match="atoms = 3 is too few: the smallest molecule has 5"):
        MoleculeCodec.fit(held, atoms=3)
    with pytest.raises(PerrinError, match="scaffolds = 2 is a share"):
        MoleculeCodec.fit(held, scaffolds=2)


def test_what_states_cannot_hold_is_cut(held, molecules):
    codec = MoleculeCodec.fit(held, atoms=9)
    kept = codec.cut(held)
    assert [len(m) for m in kept.molecules] == [len(m) for m in molecules if len(m) <= 9]
    assert kept.description["outside"] == sum(len(m) > 9 for m in molecules)
    assert codec.cut(kept) is kept
    carbon = MoleculeCodec.fit(Held([molecules[8]]))
    assert len(carbon.cut(held)) == 1  # elements and charges that were not trained on go too


def test_states_that_are_not_finite_are_refused(held):
    codec = MoleculeCodec.fit(held)
    state = codec.encode([held[0], held[1]]).state
    state["positions"][1, 0, 0] = torch.nan
    with pytest.raises(PerrinError, match=r"state 1 holds NaN or infinity \(1 of 2 do\)"):
        codec.decode(state)


def test_atoms_that_are_masked_are_shown_as_unknown(held):
    codec = MoleculeCodec.fit(held)
    state = codec.encode([held[8]]).state
    state["atoms"][0, 0] = codec.categories["atoms"]
    assert codec.decode(state)[0].elements == ("*", "H", "H", "H", "H")


def test_turning_keeps_every_distance_and_follows_the_seed(held):
    codec = MoleculeCodec.fit(held, rotate=True)
    assert codec.augments
    plain, turned = codec.encode([held[0]]).state, codec.encode([held[0]], [3]).state
    assert not torch.allclose(plain["positions"], turned["positions"], atol=1e-2)
    torch.testing.assert_close(
        torch.cdist(plain["positions"], plain["positions"]),
        torch.cdist(turned["positions"], turned["positions"]),
    )
    signs = [torch.linalg.det(s["positions"][0, :3].double()).sign() for s in (plain, turned)]
    assert signs[0] == signs[1]  # turned, not mirrored
    assert codec.encode([held[0]], [-(2**63)]).state["positions"].isfinite().all()  # seeds are int64
    assert torch.equal(turned["positions"], codec.encode([held[0]], [3]).state["positions"])
    generator = [codec.encode([held[0]], [seed]).state["positions"][0, 0] for seed in range(400)]
    assert torch.stack(generator).mean(0).norm() < 0.2 * generator[0].norm()  # all directions alike


def bonded(*pairs, count):
    matrix = np.zeros((count, count), bool)
    for i, j in pairs:
        matrix[i, j] = matrix[j, i] = True
    return matrix


def test_pieces_are_the_framework_and_its_rings():
    # two triangles 0 1 2 and 4 5 6 with a link 3, and a tail 7 8
    graph = bonded((0, 1), (1, 2), (2, 0), (2, 3), (3, 4), (4, 5), (5, 6), (6, 4), (6, 7), (7, 8), count=9)
    found = [set(np.flatnonzero(piece)) for piece in pieces(graph)]
    assert found == [{0, 1, 2, 3, 4, 5, 6}, {0, 1, 2}, {4, 5, 6}]
    fused = bonded((0, 1), (1, 2), (2, 0), (1, 3), (3, 2), count=4)
    assert [set(np.flatnonzero(piece)) for piece in pieces(fused)] == [{0, 1, 2, 3}]
    assert pieces(bonded((0, 1), (1, 2), count=3)) == []


def test_random_pieces_are_connected_and_heavy(molecules):
    for seed in range(60):
        molecule = molecules[seed % len(molecules)]
        heavy = np.array([e != "H" for e in molecule.elements])
        graph = bonded(*((i, j) for i, j, _ in molecule.bonds), count=len(molecule))
        piece = random_piece(graph, heavy, np.random.default_rng(seed))
        assert piece.any()
        assert not (piece & ~heavy).any()
        reached = {int(piece.argmax())}
        while True:
            more = {int(j) for i in reached for j in np.flatnonzero(graph[i] & piece)} | reached
            if more == reached:
                break
            reached = more
        assert reached == set(np.flatnonzero(piece))


def test_scaffolds_are_observed_as_often_as_asked_and_lie_at_the_origin(held):
    codec = MoleculeCodec.fit(held, scaffolds=0.4)
    seeds = range(400)
    batch = codec.encode([held[10]] * len(seeds), seeds)
    observed = batch.masks.observed["atoms"]
    share = observed.any(1).float().mean()
    assert share == pytest.approx(0.4, abs=0.08)
    assert torch.equal(batch.condition["observed"], observed)
    for row in (observed.any(1)).nonzero().flatten()[:20].tolist():
        centre = batch.state["positions"][row][observed[row]].mean(0)
        assert centre.abs().max() < 1e-5
        assert (batch.state["atoms"][row][observed[row]] > 0).all()  # no hydrogen
    for row in (~observed.any(1)).nonzero().flatten()[:20].tolist():
        assert batch.state["positions"][row].sum(0).abs().max() < 1e-4
    again = codec.encode([held[10]], [7])
    assert torch.equal(again.masks.observed["atoms"][0], observed[7])
    assert not codec.encode([held[10]]).masks.observed["atoms"].any()  # without seeds nothing is random


def test_bonds_of_a_piece_are_observed_with_it(held):
    codec = MoleculeCodec.fit(held, scaffolds=1.0, bonds=True)
    batch = codec.encode([held[10]], [0])
    atoms = batch.masks.observed["atoms"][0]
    high, low = np.tril_indices(codec.atoms, -1)
    assert torch.equal(batch.masks.observed["bonds"][0], atoms[high] & atoms[low])


# what is asked of samples


@pytest.fixture(scope="module")
def codec(held):
    return MoleculeCodec.fit(held, bonds=True)


def test_sizes_are_those_of_the_training_molecules(codec, molecules):
    outline = codec.outline(4_000, 1, 0)
    sizes = np.array([one["length"] for one in outline.about])
    assert outline.shape["positions"] == (sizes.max(), 3)
    assert outline.masks.valid["atoms"].sum(1).tolist() == sizes.tolist()
    known = [len(m) for m in molecules]
    for size in range(max(known) + 1):
        assert (sizes == size).mean() == pytest.approx(known.count(size) / len(known), abs=0.03)
    later = codec.outline(10, 1, 90)
    assert [one["length"] for one in later.about] == sizes[90:100].tolist()
    assert outline.known is None
    assert outline.condition == {}


def test_a_target_moves_the_sizes_with_it(codec, molecules):
    heavy = max(m.properties["weight"] for m in molecules)
    outline = codec.outline(200, 0, 0, weight=heavy)
    assert np.mean([one["length"] for one in outline.about]) > np.mean([len(m) for m in molecules]) + 2
    expected = (heavy - codec.targets.properties[0].mean) / codec.targets.properties[0].std
    torch.testing.assert_close(outline.condition["vector"], torch.full((200, 1), expected))
    assert outline.about[0].items() >= {"weight": heavy}.items()


def test_sizes_of_two_targets_agree_with_both():
    sizes = [3] * 50 + [9] * 50
    values = [{"a": float(n), "b": float(n)} for n in sizes]
    made = measured(["a", "b"], sizes, values, 10)
    assert made.weights({"a": 9.0, "b": 9.0}).tolist() == np.eye(11)[9].tolist()
    apart = made.weights({"a": 3.0, "b": 9.0})  # no molecule is like that: sizes alone decide
    assert apart[[3, 9]].tolist() == [0.5, 0.5]
    assert Targets.from_config(json.loads(json.dumps(made.config()))) == made
    assert {made.size(u) for u in (0.0, 0.3, 0.49)} == {3}
    assert {made.size(u) for u in (0.51, 0.9, 1.0)} == {9}


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"wight": 3}, "property 'wight' is not known; did you mean 'weight'"),
        ({"weight": 900}, "weight=900 is far from the training molecules, which have 50 to 160"),
        ({"weight": float("inf")}, "weight=inf is not finite"),
        ({"weight": "heavy"}, "weight='heavy' is no number"),
        ({"weight": -1}, "weight=-1 is impossible: it is 0 and more of any molecule"),
        ({"length": 17}, "length = 17 atoms: this model draws from 1 to 16"),
        ({"length": [3, 4]}, "2 lengths for 3 samples"),
        ({"label": "a"}, "trained without classes"),
        ({"scaffold": "c1ccc"}, "SMILES 'c1ccc' does not parse: unclosed ring"),
        ({"scaffold": "CBr"}, r"scaffold 'CBr' holds Br \(atom 2\)"),
        ({"scaffold": "CCCCCC"}, "scaffold 'CCCCCC' has 20 atoms; this model holds molecules of up to 16"),
        ({"scaffold": "C.C"}, "is in 2 pieces"),
        (
            {"scaffold": "c1ccccc1", "length": 5},
            "length = 5 atoms: this model draws from the 6 of the scaffold to 16",
        ),
    ],
)
def test_impossible_wishes_are_refused(codec, wanted, message):
    with pytest.raises(PerrinError, match=message):
        codec.outline(3, 0, 0, **wanted)


def test_drug_likeness_lies_between_0_and_1():
    made = measured(["qed"], [3, 4], [{"qed": 0.2}, {"qed": 0.9}], 5)
    with pytest.raises(PerrinError, match=r"qed=1.1 is impossible: it is 0 to 1 of any molecule"):
        made.checked({"qed": 1.1})
    with pytest.raises(PerrinError, match="trained without properties"):
        measured([], [3], [{}], 3).checked({"qed": 0.5})


def test_a_scaffold_is_given_at_the_beginning(codec):
    outline = codec.outline(5, 0, 0, scaffold="*c1ccccc1")
    observed = outline.masks.observed["atoms"]
    assert observed.sum(1).tolist() == [6] * 5
    assert observed[:, :6].all()
    assert torch.equal(outline.condition["observed"], observed)
    assert min(one["length"] for one in outline.about) >= 12  # with its hydrogens
    positions = outline.known["positions"][0, :6]
    assert positions.mean(0).abs().max() < 1e-5
    assert torch.cdist(positions, positions)[0].sort().values[1] == pytest.approx(1.39, abs=0.02)
    assert (outline.known["atoms"][:, :6] == codec.elements.index("C")).all()
    orders = outline.known["bonds"][0][outline.masks.observed["bonds"][0]]
    assert sorted(orders.tolist()) == [0] * 9 + [1] * 3 + [2] * 3
    for leaf, values in outline.known.items():
        if leaf != "positions":
            assert torch.equal(values >= 0, outline.masks.valid[leaf])


def test_a_sample_is_settled_again_by_what_is_said_of_it(held):
    codec = replace(MoleculeCodec.fit(held, bonds=True), classes=["dull", "bright"])
    outline = codec.outline(6, 3, 2, weight=100, scaffold="C1CC1")
    for i, said in enumerate(json.loads(json.dumps(outline.about))):
        alone = codec.outline(1, 3, 2 + i, **said)
        assert alone.about == [said]
        n = said["length"]
        assert alone.shape["atoms"] == (n,)
        for leaf, values in alone.known.items():
            assert torch.equal(values[0], outline.known[leaf][i][: values.shape[1]])
        assert torch.equal(alone.condition["vector"][0], outline.condition["vector"][i])
        assert torch.equal(alone.condition["label"][0], outline.condition["label"][i])


def test_classes_take_turns_unless_one_is_asked_for(held):
    codec = replace(MoleculeCodec.fit(held), classes=["dull", "bright"])
    assert codec.outline(3, 0, 1).condition["label"].tolist() == [1, 0, 1]
    assert codec.outline(2, 0, 0, label="bright").condition["label"].tolist() == [1, 1]
    assert codec.outline(2, 0, 0, label=["none", 0]).condition["label"].tolist() == [-1, 0]
    with pytest.raises(PerrinError, match="class 'brigt' is not known; did you mean 'bright'"):
        codec.outline(2, 0, 0, label="brigt")


def test_bonds_are_looked_for_once(molecules):
    molecule = replace(molecules[2], bonds=None)
    assert with_bonds(molecule) is with_bonds(molecule)
    assert with_bonds(molecules[2]) is molecules[2]


def test_a_layout_without_bonds_or_charges_has_two_leaves():
    layout = Layout(("H", "C"), (0,), False)
    assert layout.shape(4) == {"positions": (4, 3), "atoms": (4,)}
    assert layout.categories == {"atoms": 2}
    with pytest.raises(PerrinError, match="it says nothing of its bonds"):
        replace(layout, bonds=True).rows(Molecule(("C",)), 2, "it")


def test_a_model_that_has_never_completed_a_scaffold_says_so(held):
    with pytest.warns(UserWarning, match="never completed a scaffold"):
        MoleculeCodec.fit(held).outline(1, 0, 0, scaffold="C1CC1")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        MoleculeCodec.fit(held, scaffolds=0.5).outline(1, 0, 0, scaffold="C1CC1")


def test_some_of_several_properties_are_told_and_one_is_always(molecules):
    """A quarter of the items lacks each: half of those that are not told all."""
    both = [
        replace(m, properties={"weight": 10.0 * len(m), "rings": 1.0 * (i % 3)})
        for i, m in enumerate(molecules)
    ]
    two = Held(both, ("weight", "rings"))
    codec = MoleculeCodec.fit(two)
    assert codec.augments
    items = [two[i % len(two)] for i in range(2_000)]
    whole, told = (
        codec.encode(items).condition["vector"],
        codec.encode(items, range(2_000)).condition["vector"],
    )
    lacking = told.isnan()
    assert torch.equal(told[~lacking], whole[~lacking])
    assert (lacking.double().mean(0) - 0.25).abs().max() < 0.05
    assert abs(float(lacking.all(1).double().mean()) - 0.125) < 0.04
    assert not MoleculeCodec.fit(Held(molecules)).augments
