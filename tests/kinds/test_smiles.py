"""The kind `smiles`: opening files of molecules, tokens and states, what is written, and every mistake in a line."""

import csv
import gzip
import json

import numpy as np
import pytest
import torch

pytest.importorskip("rdkit", reason="molecules: pip install 'perrin[molecules]'")
pytest.importorskip("selfies", reason="molecules: pip install 'perrin[molecules]'")

from rdkit import Chem

from perrin.errors import PerrinError
from perrin.kinds.smiles import Smiles, read_provenance, rows
from perrin.kinds.smiles.parsing import canonical
from perrin.kinds.text.codec import SHADE
from perrin.process.categorical import ABSENT

SMILES = ["OCC", "c1ccccc1O", "C[C@H](N)C(=O)[O-]", "F/C=C/Cl", "C1CC1", "N#CC", "CCCCCCCCCC", "Cc1ccncc1"]


def write(folder, lines=SMILES, name="m.smi"):
    (folder / name).write_text("\n".join(lines) + "\n")
    return folder / name


@pytest.fixture
def molecules(tmp_path):
    return Smiles.open(write(tmp_path))


def test_lines_are_molecules_in_their_canonical_spelling(tmp_path, molecules):
    assert [item["value"] for item in molecules] == [canonical(smiles) for smiles in SMILES]
    assert molecules[0] == {"value": "CCO", "label": None, "name": "m.smi line 1"}
    named = write(tmp_path, ["", "OCC ethanol", "", "C1CC1\tcyclopropane 7"], "n.smi")
    found = Smiles.open(named)
    assert [(item["value"], item["name"]) for item in found] == [
        ("CCO", "n.smi line 2"),
        ("C1CC1", "n.smi line 4"),
    ]


def test_packed_lines_and_tables_are_read(tmp_path):
    (tmp_path / "m.smi.gz").write_bytes(gzip.compress("\r\n".join(SMILES).encode()))
    assert len(Smiles.open(tmp_path / "m.smi.gz")) == len(SMILES)
    table = write(tmp_path, ["id,SMILES,label", '7,OCC,"a, b"', "8,C1CC1,"], "t.csv")
    found = Smiles.open(table)
    assert [item["value"] for item in found] == ["CCO", "C1CC1"]
    assert (found.classes, found[0]["label"], found[1]["label"]) == (["a, b"], 0, None)
    assert found[1]["name"] == "t.csv line 3"
    assert Smiles.open(table, labels=False).classes is None
    assert Smiles.open(write(tmp_path, ["x\ty", "C\tCC"], "t.tsv"), column="y")[0]["value"] == "CC"


def test_what_does_not_parse_is_told_by_line_and_reason_or_left_out(tmp_path):
    path = write(tmp_path, ["CCO", "CC(", "CN(C)(C)(C)C", "C"])
    with pytest.raises(
        PerrinError, match=r"2 of 4 .*m\.smi line 2 \(SMILES 'CC\(' .*syntax error.*line 3 .*valence"
    ):
        Smiles.open(path)
    kept = Smiles.open(path, broken="skip")
    assert [item["value"] for item in kept] == ["CCO", "C"]
    assert kept.skipped == ["m.smi line 2", "m.smi line 3"]
    assert Smiles.codec.fit(kept).lengths == [1, 3]


@pytest.mark.parametrize(
    ("name", "lines", "options", "says"),
    [
        ("a.xyz", ["C"], {}, "no .smi"),
        ("a.smi", [""], {}, "holds no molecule"),
        ("a.smi", ["C"], {"column": "x"}, "column 'x' is of a table"),
        ("a.csv", ["smi,b", "C,1"], {}, "no column 'smiles' but smi, b"),
        ("a.csv", ["smiles,b", "C,1"], {"label_column": "c"}, "no column 'c' but smiles, b"),
        ("a.smi", ["C"], {"broken": "drop"}, "did you mean|known: refuse, skip"),
        ("a.smi", ["CC("], {"broken": "skip"}, "1 of 1 documents"),
    ],
)
def test_what_cannot_be_opened_is_told(tmp_path, name, lines, options, says):
    with pytest.raises(PerrinError, match=says):
        Smiles.open(write(tmp_path, lines, name), **options)
    with pytest.raises(PerrinError, match="no file"):
        Smiles.open(tmp_path / "none.smi")


def test_a_damaged_archive_is_told(tmp_path):
    (tmp_path / "m.smi.gz").write_bytes(gzip.compress(b"C\n" * 100)[:-6])
    with pytest.raises(PerrinError, match=r"cannot read '.*m\.smi\.gz'"):
        Smiles.open(tmp_path / "m.smi.gz")


@pytest.mark.parametrize("spelling", ["selfies", "smiles"])
def test_states_are_padded_and_come_back(molecules, spelling):
    codec = Smiles.codec.fit(molecules, spelling=spelling)
    items = [molecules[i] for i in range(len(molecules))]
    state = codec.encode(items).state
    lengths = [len(codec.tokens(smiles)) for smiles in SMILES]
    assert state.shape == (len(SMILES), codec.context) == (len(SMILES), max(lengths))
    assert state.dtype == torch.int64
    assert (state != ABSENT).sum(1).tolist() == lengths
    assert codec.decode(state) == [item["value"] for item in items]
    assert codec.lengths == sorted(lengths)
    assert (codec.length(0.0), codec.length(1.0)) == (min(lengths), max(lengths))
    assert Smiles.codec.from_config(json.loads(json.dumps(codec.config()))) == codec


def test_how_a_molecule_is_written_does_not_matter(molecules):
    codec = Smiles.codec.fit(molecules)
    assert codec.tokens("OCC").tolist() == codec.tokens("CCO").tolist()
    one, other = ({"value": text, "label": None, "name": "it"} for text in ("Oc1ccccc1", "c1ccccc1O"))
    assert torch.equal(*codec.encode([one, other]).state)


def test_a_symbol_outside_is_told_with_its_line(molecules, tmp_path):
    codec = Smiles.codec.fit(molecules)
    strange = Smiles.open(write(tmp_path, ["C", "CC[Se]C"], "s.smi"))
    with pytest.raises(
        PerrinError,
        match=r"s\.smi line 2: the symbol \[Se\] of 'CC\[Se\]C' is not among this model's \d+; .*\[",
    ):
        codec.encode([strange[1]])
    with pytest.raises(PerrinError, match="the prompt: the symbol"):
        codec.known("[Se]")


def test_what_does_not_fit_is_left_out_and_counted(molecules, tmp_path):
    codec = Smiles.codec.fit(molecules, context=8)
    assert codec.context == 8
    path = write(tmp_path, ["CCO", "CC[Se]C", "CCCCCCCCCC", "C*", "C1CC1"], "s.smi")
    cut = codec.cut(Smiles.open(path))
    assert [cut[i]["name"] for i in range(len(cut))] == ["s.smi line 1", "s.smi line 5"]
    assert (cut.description["longer"], cut.description["outside"]) == (1, 2)
    assert cut.description["outside_example"] == "s.smi line 2"
    assert codec.decode(codec.encode([cut[0], cut[1]]).state) == ["CCO", "C1CC1"]


def test_a_part_of_a_file_has_its_own_symbols(molecules):
    train, test = molecules.split(3, 0)
    codec = Smiles.codec.fit(train)
    assert codec.lengths == sorted(len(codec.tokens(train[i]["value"])) for i in range(len(train)))
    wanted = {symbol for i in range(len(train)) for symbol in codec.vocabulary.split(train[i]["value"])}
    assert set(codec.vocabulary.symbols) == wanted
    cut = codec.cut(train)
    assert codec.decode(codec.encode([cut[i] for i in range(5)]).state) == [
        train[i]["value"] for i in range(5)
    ]
    assert (
        len(codec.cut(test)) + codec.cut(test).description["outside"] + codec.cut(test).description["longer"]
        == 3
    )


@pytest.mark.parametrize(
    ("options", "says"),
    [({"spelling": "inchi"}, "spelling 'inchi' is not known"), ({"context": 0}, "too short: the shortest"), ],
)  # fmt: skip
def test_wrong_options_are_told(molecules, options, says):
    with pytest.raises(PerrinError, match=says):
        Smiles.codec.fit(molecules, **options)


def test_molecules_that_cannot_be_spelled_are_told(tmp_path):
    with pytest.raises(PerrinError, match=r"no molecule can be spelled: .*SELFIES cannot write '\*C'"):
        Smiles.codec.fit(Smiles.open(write(tmp_path, ["C*"])))


def test_what_is_not_installed_is_named(molecules, monkeypatch):
    monkeypatch.setattr("perrin.kinds.smiles.grammar.find_spec", lambda name: None)
    with pytest.raises(PerrinError, match=r"need selfies: pip install 'perrin\[molecules\]'"):
        Smiles.codec.fit(molecules)
    assert Smiles.codec.fit(molecules, spelling="smiles").categories > 5
    monkeypatch.setattr("perrin.kinds.molecules.library.find_spec", lambda name: None)
    with pytest.raises(PerrinError, match=r"reading SMILES needs RDKit: pip install 'perrin\[molecules\]'"):
        Smiles.open("any.smi")


def test_any_data_of_smiles_will_do(molecules):
    class Plain:
        classes, description, skipped = None, {}, []

        def __len__(self):
            return len(SMILES)

        def __getitem__(self, index):
            return {"value": SMILES[index], "label": None, "name": f"it {index}"}

    assert Smiles.codec.fit(Plain()) == Smiles.codec.fit(molecules)
    assert len(Smiles.codec.fit(molecules).cut(Plain())) == len(SMILES)


def test_many_molecules_are_split_once(molecules, monkeypatch):
    monkeypatch.setattr(rows, "MOST_UNKEPT", 3)
    first = rows.rows(molecules.source.texts, "selfies")
    monkeypatch.setattr(rows, "_split", None)  # a second call would fail
    again = rows.rows(molecules.source.texts, "selfies")
    assert (again.symbols, again.faults) == (first.symbols, first.faults)
    assert all(np.array_equal(again[i], first[i]) for i in range(len(SMILES)))
    known, faults = rows.canonicals([*SMILES, "CC("])
    monkeypatch.setattr(rows, "canonical", None)
    assert rows.canonicals([*SMILES, "CC("]) == (known, faults)
    assert list(faults) == [8]
    with pytest.raises(TypeError):  # other molecules are other rows
        rows.rows(molecules.source.texts[:5], "selfies")


def test_a_prompt_is_kept_in_its_own_order_and_goes_on(molecules):
    codec = Smiles.codec.fit(molecules)
    known = codec.known("OC", 6)
    assert codec.vocabulary.pieces(known[:2]) == ["[O]", "[C]"]
    assert known[2:].tolist() == [codec.categories] * 4
    assert codec.text(known) == "[O][C]" + SHADE * 4
    longer = [length for length in codec.lengths if length > 2]
    assert len(codec.known("OC")) == longer[len(longer) // 2] < codec.context
    with pytest.raises(PerrinError, match=r"the prompt: .*does not parse"):
        codec.known("C(")
    with pytest.raises(PerrinError, match="more than this model's context"):
        codec.known("CCCCCCCCCCCCCCC")


def test_fragments_are_joined_by_what_is_drawn(molecules):
    codec = Smiles.codec.fit(molecules)
    known = codec.infill("OC___CN")
    assert codec.vocabulary.pieces(known[:2]) == ["[O]", "[C]"]
    assert codec.vocabulary.pieces(known[5:]) == ["[C]", "[N]"]
    assert known[2:5].tolist() == [codec.categories] * 3
    carbon = codec.vocabulary.index["[C]"]
    assert codec.text(torch.where(known == codec.categories, carbon, known)) == canonical("OCCCCCN")
    assert codec.infill("C____", gap=2).tolist() == [carbon, codec.categories, codec.categories]


def test_files_that_were_saved_open_again(molecules, tmp_path):
    codec = Smiles.codec.fit(molecules)
    values = [molecules[i]["value"] for i in range(len(molecules))]
    made = [{"seed": 7, "index": 10 + i} for i in range(len(values))]
    for name in ("a.smi", "a.csv", "a.sdf", "a.png"):
        files = codec.save(values, tmp_path / name, made)
        assert all(file.is_file() for file in files)
        assert Smiles.read_saved(tmp_path / name).size > 0
    for name in ("a.smi", "a.csv"):
        again = Smiles.open(tmp_path / name)
        assert [again[i]["value"] for i in range(len(again))] == values
        assert read_provenance(tmp_path / name)["items"][3] == made[3]
    records = list(Chem.SDMolSupplier(str(tmp_path / "a.sdf")))
    assert [Chem.MolToSmiles(record) for record in records] == values
    assert not any(record.GetConformer().Is3D() for record in records)
    assert json.loads(records[2].GetProp("perrin")) == made[2]
    assert read_provenance(tmp_path / "a.png")["items"][1] == made[1]
    with (tmp_path / "a.csv").open() as file:
        assert next(csv.DictReader(file)) == {"index": "10", "smiles": "CCO"}


def test_a_folder_has_a_structure_file_each(molecules, tmp_path):
    codec = Smiles.codec.fit(molecules)
    codec.save(["CCO", "C1CC1"], tmp_path / "out", [{"index": 0}, {"index": 1}])
    names = sorted(file.name for file in (tmp_path / "out").iterdir())
    assert names == ["00000.sdf", "00001.sdf"]
    assert codec.picture(["CCO", "CC("]).size > (50, 50)
    assert codec.picture(["CC("]) is None


def test_what_is_no_molecule_is_written_where_text_is(molecules, tmp_path):
    codec = Smiles.codec.fit(molecules, spelling="smiles")
    broken = codec.vocabulary.decode([codec.vocabulary.index[token] for token in ("C", "(", "C")])
    assert broken == "C(C"
    codec.save([broken, "CCO"], tmp_path / "a.smi", [{}, {}])
    assert (tmp_path / "a.smi").read_text() == "C(C 0\nCCO 1\n"
    codec.save([broken, "CCO"], tmp_path / "a.sdf", [{}, {"index": 1}])
    assert len(list(Chem.SDMolSupplier(str(tmp_path / "a.sdf")))) == 1
    for name, says in (("b.sdf", "none of these 1 texts is a molecule"), ("b.mol2", "saved as .smi")):
        with pytest.raises(PerrinError, match=says):
            codec.save([broken], tmp_path / name, [{}])


@pytest.mark.parametrize("spelling", ["selfies", "smiles"])
def test_real_drug_like_molecules_come_back(sample_data, tmp_path, spelling):
    with gzip.open(sample_data("molecules/zinc_test.smi.gz"), "rt") as file:
        lines = [line.strip() for line in file][:200]
    dataset = Smiles.open(write(tmp_path, lines))
    codec = Smiles.codec.fit(dataset, spelling=spelling)
    cut = codec.cut(dataset)
    assert codec.decode(codec.encode([cut[i] for i in range(200)]).state) == [
        canonical(line) for line in lines
    ]


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    """A run of the recipe that has learned next to nothing, on molecules of many lengths."""
    import perrin

    folder = tmp_path_factory.mktemp("run")
    path = write(
        folder,
        [*SMILES, *(f"{'C' * i}c1ccc(F)cc1" for i in range(1, 9)), *(f"N{'C' * i}O" for i in range(6))],
    )
    options = {
        "training": {"steps": 3, "batch": 4, "validation": 2},
        "net": {"width": 16, "blocks": 1, "heads": 1},
    }
    perrin.train("selfies", out=folder / "run", data={"path": str(path)}, **options)
    return perrin.load(folder / "run")


def test_whatever_a_model_has_learned_it_draws_molecules(untrained, tmp_path):
    drawn = untrained.sample(40, steps=16)
    mols = [Chem.MolFromSmiles(smiles) for smiles in drawn.decoded]
    assert all(mol is not None for mol in mols)
    assert len({Chem.MolToSmiles(mol) for mol in mols}) > 20
    drawn.save(tmp_path / "a.smi")
    assert [
        line.rpartition(" ")[0] for line in (tmp_path / "a.smi").read_text().splitlines()
    ] == drawn.decoded


def test_what_is_drawn_holds_its_prompt(untrained):
    prompt = "Fc1ccccc1"
    known = untrained.codec.known(prompt, 16)
    for smiles in untrained.sample(12, known=known).decoded:
        assert Chem.MolFromSmiles(smiles).HasSubstructMatch(Chem.MolFromSmiles(prompt)), smiles


def test_likelihood_does_not_ask_how_a_molecule_is_written(untrained):
    one, other = (
        untrained.log_prob([text], method="bound", samples=8).value
        for text in ("Fc1ccc(CC)cc1", "CCc1ccc(F)cc1")
    )
    assert one == other < 0
