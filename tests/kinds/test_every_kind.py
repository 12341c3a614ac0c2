"""What every registered kind of data promises; a new one is tested by its line in the registry."""

import inspect
import json

import numpy as np
import pytest
import torch

from perrin import registry
from perrin.contracts import DecodesGiven
from perrin.process.state import leaves

LABELS = np.arange(12) % 3


def stacked(folder, **arrays):
    np.savez(folder / "a.npz", **arrays, labels=LABELS)
    return folder / "a.npz"


def lines(folder):
    rows = [{"text": f"item {i}, né {'x' * i}", "label": i % 3} for i in range(12)]
    (folder / "a.jsonl").write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return folder / "a.jsonl"


def tunes(folder):
    head = "X:{}\nM:{}\nL:1/8\nK:D\n"
    metres = ("2/4", "3/4", "4/4")
    book = "\n".join(
        head.format(i, metres[i % 3]) + "d2 ^f" + "a" * (1 + 2 * (i % 3)) + " |\n" for i in range(12)
    )
    (folder / "a.abc").write_text(book)
    return folder / "a.abc"


def smiles(folder):
    lines = [f"{'C' * (1 + i)}O,{i % 3}" for i in range(12)]
    (folder / "a.csv").write_text("\n".join(["smiles,label", *lines]))
    return folder / "a.csv"


def frames(folder):
    atoms = "O 0 0 0\nH 0 0.76 -0.59\nH 0 -0.76 -0.59\nN 3 1 0.5"
    (folder / "a.xyz").write_text(
        "".join(f"4\nlabel={i % 3} energy={i}\n{atoms}{i % 3}\n" for i in range(12))
    )
    return folder / "a.xyz"


def shapes(folder):
    from perrin.kinds.conformers.making import make
    from perrin.kinds.molecules.smiles_rows import smiles_lines

    (folder / "a.smi").write_text("".join(f"{'C' * (2 + i)}O\n" for i in range(12)))
    make(smiles_lines(folder / "a.smi"), folder / "a.sdf", 1)
    return folder / "a.sdf"


def readings(folder):
    days = np.datetime64("2020-01-01") + np.arange(56)
    rows = [
        f"{day},s{i:02d},{(d * 7 + i * 3) % 11 + i / 2},{i % 3}"
        for i in range(12)
        for d, day in enumerate(days)
    ]
    (folder / "a.csv").write_text("\n".join(["date,who,value,label", *rows]))
    return folder / "a.csv"


def scans(folder):
    nibabel = pytest.importorskip("nibabel")
    for i in range(12):
        numbers = np.random.default_rng(i).integers(1, 9, (4, 5, 6)).astype(np.int16)
        path = folder / "scans" / str(i % 3) / f"{i:02d}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(numbers, np.diag([-1.0, -1.0, 2.0, 1.0])), path)
    return folder / "scans"


# twelve small items of each kind; a kind without them here fails its test, which asks for them
EXAMPLES = {
    "images": lambda f: stacked(f, images=np.random.default_rng(0).integers(0, 256, (12, 6, 6), np.uint8)),
    "arrays": lambda f: stacked(f, values=np.random.default_rng(0).normal(size=(12, 3))),
    "text": lines,
    "music": tunes,
    "smiles": smiles,
    "molecules": frames,
    "conformers": shapes,
    "series": readings,
    "volumes": scans,
}


# latents need an autoencoder, and give back what it makes of an image: tests/systems/latent/test_latents.py
ALONE = [name for name in registry.kinds if name != "latents"]


@pytest.fixture(params=ALONE)
def example(request, tmp_path):
    if request.param == "music":
        pytest.importorskip("music21", reason="tunes are drawn as music21 reads them")
    if request.param in ("smiles", "molecules", "conformers"):
        pytest.importorskip("rdkit")
    if request.param == "smiles":
        pytest.importorskip("selfies")
    if request.param == "series":
        pytest.importorskip("pandas")
    kind = registry.kinds[request.param]
    return request.param, kind, kind.open(EXAMPLES[request.param](tmp_path))


def test_it_goes_from_file_to_state_and_back_to_file(example, tmp_path):
    name, kind, dataset = example
    codec = kind.codec.fit(dataset)
    assert codec.kind == name
    batch = codec.encode([dataset[i] for i in range(12)], seeds=range(12))
    for leaf, state in leaves(batch.state).items():
        assert state.shape == (12, *leaves(codec.shape)[leaf])
        tokens = codec.categories if leaf == "" else codec.categories.get(leaf)
        assert state.dtype == (torch.float32 if tokens is None else torch.int64)
    given = isinstance(codec, DecodesGiven)
    if name != "conformers":  # where what is given is the molecule, which has no class
        # class folders are read one after another
        wanted = [i // 4 if name == "volumes" else i % 3 for i in range(12)]
        assert batch.condition["label"].tolist() == wanted
    decoded = codec.decode_given(batch.state, batch.condition) if given else codec.decode(batch.state)
    for item, value in zip(dataset, decoded, strict=True):
        if isinstance(value, str):
            assert value == item["value"]
        elif name == "conformers":
            assert value.smiles == item["value"].molecule.smiles
        elif hasattr(value, "elements"):  # a molecule, which lies where its middle is
            assert value.elements == item["value"].elements
            middle = item["value"].positions.mean(0)
            np.testing.assert_allclose(value.positions, item["value"].positions - middle, atol=1e-5)
        elif hasattr(value, "times"):
            np.testing.assert_allclose(value.values, item["value"].values, rtol=1e-5, atol=1e-6)
        else:
            np.testing.assert_allclose(value, item["value"], rtol=1e-5, atol=1e-6)
    picture = codec.picture(decoded)
    assert picture is None or picture.size > (1, 1)
    assert all(path.is_file() for path in codec.save(decoded, tmp_path / "out", [{"seed": 0}] * 12))


def test_its_config_and_description_are_json(example):
    _, kind, dataset = example
    codec = kind.codec.fit(dataset)
    assert kind.codec.from_config(json.loads(json.dumps(codec.config()))) == codec
    description = json.loads(json.dumps(dataset.description))
    assert description["count"] == 12
    assert len(description["sha256"]) == 64
    assert dataset.skipped == []


def test_an_item_alone_and_in_a_batch_is_the_same_state(example):
    _, kind, dataset = example
    codec = kind.codec.fit(dataset)
    together = leaves(codec.encode([dataset[i] for i in range(12)]).state)
    for leaf, state in leaves(codec.encode([dataset[7]]).state).items():
        assert torch.equal(state[0], together[leaf][7])


def test_its_options_are_annotated_keywords(example):
    _, kind, _ = example
    for function, first in ((kind.open, "path"), (kind.codec.fit, "dataset")):
        names = list(inspect.signature(function).parameters.values())
        assert names[0].name == first
        for parameter in names[1:]:
            assert parameter.kind is inspect.Parameter.KEYWORD_ONLY
            assert parameter.annotation is not inspect.Parameter.empty
            assert parameter.default is not inspect.Parameter.empty
