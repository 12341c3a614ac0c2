"""A synthetic set lies in the layout of the real one: the same reader opens it with the same options."""

import csv
import gzip
import io
import json

import numpy as np
import pytest
from pyarrow import parquet
from tests.augmenting import sets
from tests.model.making import image_model, point_model

import perrin
from perrin.errors import PerrinError
from perrin.kinds.provenance import read_provenance
from perrin.registry import kinds
from perrin.reproduction import reproduce

PICTURES = {
    "folder": (lambda path: sets.folder(path / "real"), ""),
    "listed-names": (lambda path: sets.listed(path / "real"), ""),
    "listed-numbers": (lambda path: sets.listed(path / "real", names=False), ""),
    "parquet": (lambda path: sets.table(path / "real.parquet"), ".parquet"),
    "parquet-struct": (lambda path: sets.table(path / "real.parquet", form="struct"), ".parquet"),
    "parquet-folder": (lambda path: sets.table(path / "real", folder=True), ""),
    "npz": (lambda path: sets.stack(path / "real.npz"), ".npz"),
    "npz-names": (lambda path: sets.stack(path / "real.npz", names=True), ".npz"),
    "npz-bool": (lambda path: sets.stack(path / "real.npz", dtype=bool), ".npz"),
    "npz-float": (lambda path: sets.stack(path / "real.npz", dtype=np.float32, channels=True), ".npz"),
    "npz-subset": (lambda path: sets.stack(path / "real.npz", subset="train"), ".npz"),
}
ARRAYS = {
    "csv": (lambda path: sets.lines(path / "real.csv"), ".csv"),
    "csv-headless": (lambda path: sets.lines(path / "real.csv", header=False), ".csv"),
    "csv-gz": (lambda path: sets.lines(path / "real.csv.gz", compressed=True), ".csv.gz"),
    "npz": (lambda path: sets.held(path / "real.npz"), ".npz"),
    "npz-names": (lambda path: sets.held(path / "real.npz", names=True), ".npz"),
}
CASES = [("images", name, *case) for name, case in PICTURES.items()]
CASES += [("arrays", name, *case) for name, case in ARRAYS.items()]


def expanded(kind, path, options, **asked):
    model = sets.picture_model() if kind == "images" else sets.array_model()
    return perrin.augment(model, path, likelihood=0, copies=0, **{"per_class": 4, **asked}, **options)


def pixels_of(kind, value, name):
    """A picture of zeros and ones alone cannot hold grey ones."""
    return np.where(value > 127, 255, 0) if name == "npz-bool" else value


@pytest.mark.parametrize(("kind", "name", "write", "suffix"), CASES, ids=[f"{c[0]}-{c[1]}" for c in CASES])
def test_a_synthetic_set_opens_with_the_reader_and_options_of_the_real_one(
    kind, name, write, suffix, tmp_path
):
    path, options = write(tmp_path)
    found = expanded(kind, path, options)
    target = tmp_path / f"made{suffix}"
    assert found.save(target)[0] == target
    real = kinds[kind].open(path=path, **options)
    made = kinds[kind].open(path=target, **options)
    assert made.classes == real.classes
    assert not made.skipped
    assert sorted(made.labels.tolist()) == sorted(found.labels) == sorted([*range(len(real.classes))] * 4)
    by_class = (
        sorted(range(len(found)), key=lambda i: found.labels[i])
        if suffix == "" and "parquet" not in name
        else None
    )
    order = range(len(found)) if by_class is None or name.startswith("listed") else by_class
    for place, row in enumerate(order):
        np.testing.assert_allclose(
            made[place]["value"],
            pixels_of(kind, found.values[row], name),
            rtol=1e-6 if kind == "arrays" else 0,
        )
        assert made[place]["label"] == found.labels[row]
    originals = {np.asarray(real[i]["value"]).tobytes() for i in range(len(real))}
    assert not originals & {np.asarray(made[i]["value"]).tobytes() for i in range(len(made))}


@pytest.mark.parametrize(("kind", "name", "write", "suffix"), CASES, ids=[f"{c[0]}-{c[1]}" for c in CASES])
def test_with_real_items_the_set_is_the_union(kind, name, write, suffix, tmp_path):
    path, options = write(tmp_path)
    found = expanded(kind, path, options)
    target = tmp_path / f"made{suffix}"
    found.save(target, with_real=True)
    real, both = (kinds[kind].open(path=p, **options) for p in (path, target))
    assert len(both) == len(real) + len(found)
    assert both.classes == real.classes

    def content(dataset):
        return {(np.asarray(dataset[i]["value"]).tobytes(), dataset[i]["label"]) for i in range(len(dataset))}

    assert content(real) < content(both)


def test_every_item_says_how_it_was_made(tmp_path):
    path, options = sets.folder(tmp_path / "real")
    found = expanded("images", path, options, seed=3)
    found.save(tmp_path / "made")
    said = [read_provenance(file) for file in (tmp_path / "made").rglob("*.png")]
    assert {one["model_hash"] for one in said} == {found.model.hash}
    assert {(one["seed"], one["index"]) for one in said} == {(3, i) for i in range(12)}
    for file in (tmp_path / "made").rglob("*.png"):
        assert read_provenance(file)["class"] == file.parent.name


def test_a_picture_can_be_made_again(tmp_path):
    path, options = sets.folder(tmp_path / "real")
    found = expanded("images", path, options, seed=3, drawing={"batch": 1})
    found.model.save(tmp_path / "model")
    found.save(tmp_path / "made")
    file = next((tmp_path / "made" / "owl").iterdir())
    assert reproduce(file, model=str(tmp_path / "model")).identical


def test_the_bundled_digits_are_expanded_as_an_npz(tmp_path):
    found = perrin.augment(image_model(guidance=1.0), "digits", n=20, likelihood=0, copies=0)
    found.save(tmp_path / "made.npz")
    made = kinds["images"].open(tmp_path / "made.npz")
    assert made.labels.tolist() == found.labels
    assert made[0]["value"].shape == (8, 8)


def test_items_of_a_file_are_named_in_its_sidecar(tmp_path):
    path, options = sets.table(tmp_path / "real.parquet")
    found = expanded("images", path, options)
    found.save(tmp_path / "made.parquet")
    items = read_provenance(tmp_path / "made.parquet")["items"]
    assert [item["class"] for item in items] == [sets.CLASSES[label] for label in found.labels]


def test_a_parquet_set_has_the_schema_of_the_real_one_and_nulls_where_it_means_nothing(tmp_path):
    path, options = sets.table(tmp_path / "real.parquet")
    expanded("images", path, options).save(tmp_path / "made.parquet")
    real, made = (parquet.read_table(tmp_path / name) for name in ("real.parquet", "made.parquet"))
    assert made.schema.equals(real.schema)
    rows = made.to_pylist()
    assert {row["split"] for row in rows} == {"train"}
    assert {row["width"] for row in rows} == {None}
    assert all(row["label_name"] == sets.CLASSES[row["label"]] for row in rows)


def test_the_test_part_of_the_data_stays_as_it_is_beside_real_items(tmp_path):
    for write, name in ((sets.table, "some.parquet"), (lambda p: sets.stack(p, subset="train"), "other.npz")):
        path, options = write(tmp_path / name)
        target = tmp_path / f"made-{name}"
        expanded("images", path, options).save(target, with_real=True)
        real, kept = (kinds["images"].open(path=p, subset="test") for p in (path, target))
        assert len(kept) == len(real) == len(sets.LABELS)
        assert all((kept[i]["value"] == real[i]["value"]).all() for i in range(len(real)))


def test_cells_of_a_csv_that_were_not_read_are_empty(tmp_path):
    path, options = sets.lines(tmp_path / "real.csv.gz", compressed=True)
    expanded("arrays", path, options).save(tmp_path / "made.csv.gz")
    text = gzip.decompress((tmp_path / "made.csv.gz").read_bytes()).decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [*rows[0]] == ["x", "note", "y", "label"]
    assert {row["note"] for row in rows} == {""}


def test_keys_of_a_list_that_mean_nothing_are_null(tmp_path):
    path, options = sets.listed(tmp_path / "real", names=False)
    expanded("images", path, options).save(tmp_path / "made")
    rows = [json.loads(line) for line in (tmp_path / "made" / "metadata.jsonl").read_text().splitlines()]
    assert {row["patient"] for row in rows} == {None}
    assert all(row["label_name"] == sets.CLASSES[row["label"]] for row in rows)


def test_whole_numbers_stay_whole_and_in_range(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "real.npz", values=rng.integers(-1, 2, (30, 2)), labels=np.arange(30) % 2)
    model = sets.array_model(whole=([-1.0, -1.0], [1.0, 1.0]), spread=9.0)
    found = perrin.augment(model, tmp_path / "real.npz", n=200, likelihood=0, copies=0)
    found.save(tmp_path / "made.npz")
    with np.load(tmp_path / "made.npz") as made:
        assert made["values"].dtype == np.int64
        assert set(made["values"].ravel().tolist()) == {-1, 0, 1}


def test_data_without_labels_make_a_set_without_labels(tmp_path):
    np.save(tmp_path / "real.npy", sets.points()[0])
    found = perrin.augment(point_model(), tmp_path / "real.npy", n=7, likelihood=0, copies=0)
    found.save(tmp_path / "made.npy")
    assert found.labels is None
    np.testing.assert_array_equal(np.load(tmp_path / "made.npy"), np.stack(found.values))


def test_pictures_of_another_size_fit_the_real_array_once_resized(tmp_path):
    path, _ = sets.stack(tmp_path / "real.npz", channels=True)
    small = perrin.augment(sets.picture_model(shape=(1, 4, 4)), path, per_class=2, likelihood=0, copies=0)
    with pytest.raises(PerrinError, match="resize"):
        small.save(tmp_path / "made.npz", with_real=True)
    small.save(tmp_path / "made.npz", with_real=True, resize=True)
    with np.load(tmp_path / "made.npz") as both:
        assert both["images"].shape == (len(sets.LABELS) + 6, 8, 8, 1)
    assert read_provenance(tmp_path / "made.npz")["items"][0]["resized"] == [8, 8, 1]
