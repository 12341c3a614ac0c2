"""Every form in which images come, and every way in which they come broken."""

import json
import subprocess
import sys
import warnings

import numpy as np
import pytest
from PIL import Image

from perrin import saving
from perrin.errors import PerrinError
from perrin.kinds import files
from perrin.kinds.images import Images
from perrin.kinds.images import survey as surveys


def classes_folder(root, write_png, noise, shape=(8, 6), per_class=3):
    for label, name in enumerate(("cat", "dog")):
        for i in range(per_class):
            write_png(root / name / f"{i}.png", noise(*shape, seed=10 * label + i))
    return root


def one_line(error):
    assert "\n" not in str(error.value)
    return str(error.value)


def test_sub_folders_are_classes_and_pixels_arrive_unchanged(tmp_path, write_png, noise):
    dataset = Images.open(classes_folder(tmp_path, write_png, noise))
    assert dataset.classes == ["cat", "dog"]
    assert [item["label"] for item in dataset] == [0, 0, 0, 1, 1, 1]
    assert dataset[4]["name"] == "dog/1.png"
    assert np.array_equal(dataset[4]["value"], noise(8, 6, seed=11))


def test_classes_that_are_numbers_are_sorted_as_numbers(tmp_path, write_png, noise):
    for name in ("10", "2", "1"):
        write_png(tmp_path / name / "a.png", noise(4, 4))
    dataset = Images.open(tmp_path)
    assert dataset.classes == ["1", "2", "10"]
    assert Images.codec.fit(dataset).label("10") == 2
    assert Images.codec.fit(dataset).label(2) == 1  # the name wins over the index


def test_a_flat_folder_has_no_labels(tmp_path, write_png, noise):
    write_png(tmp_path / "a.png", noise(4, 4))
    (tmp_path / "notes.txt").write_text("not an image")
    dataset = Images.open(tmp_path)
    assert dataset.classes is None
    assert dataset[0]["label"] is None
    assert dataset.description["unused_files"] == 1


def test_images_beside_and_inside_sub_folders_need_a_decision(tmp_path, write_png, noise):
    write_png(classes_folder(tmp_path, write_png, noise) / "stray.png", noise(8, 6))
    with pytest.raises(PerrinError, match="1 images beside the sub-folders") as error:
        Images.open(tmp_path)
    assert "labels: false" in one_line(error)
    assert len(Images.open(tmp_path, labels=False)) == 7


def metadata(root, *rows):
    (root / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root


def test_metadata_names_files_and_labels(tmp_path, write_png, noise):
    for name in ("a", "b", "c", "unlisted"):
        write_png(tmp_path / f"{name}.png", noise(4, 4))
    rows = [
        {"file_name": "c.png", "label": "dog"},
        {"file_name": "a.png", "label": "cat"},
        {"file_name": "b.png"},
    ]
    dataset = Images.open(metadata(tmp_path, *rows))
    assert [(item["name"], item["label"]) for item in dataset] == [
        ("c.png", 1),
        ("a.png", 0),
        ("b.png", None),
    ]
    assert dataset.description["unused_files"] == 1
    assert Images.codec.fit(dataset).encode(list(dataset)).condition["label"].tolist() == [1, 0, -1]


def test_metadata_with_missing_images_lists_the_first_few_and_the_count(tmp_path, write_png, noise):
    write_png(tmp_path / "0.png", noise(4, 4))
    metadata(tmp_path, *({"file_name": f"{i}.png", "label": 0} for i in range(9)))
    with pytest.raises(PerrinError, match=r"names 8 images that are not there: 1\.png, 2\.png") as error:
        Images.open(tmp_path)
    assert "and 3 more" in one_line(error)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"file_name": "a.png"', "line 2 is not JSON"),
        ('{"file": "a.png"}', 'line 2 has no "file_name"'),
        ('{"file_name": "../a.png"}', "outside the folder"),
    ],
)
def test_a_bad_line_of_metadata_is_named(tmp_path, write_png, noise, line, message):
    write_png(tmp_path / "a.png", noise(4, 4))
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "a.png"}\n' + line + "\n")
    with pytest.raises(PerrinError, match=message) as error:
        Images.open(tmp_path)
    one_line(error)


@pytest.mark.parametrize(
    ("labels", "message"),
    [(("cat", 1), "all integers or all names"), ((0, -3), "from -3 to 0"), ((0, 10**9), "or names")],
)
def test_labels_that_make_no_sense_are_refused(tmp_path, write_png, noise, labels, message):
    for i, _ in enumerate(labels):
        write_png(tmp_path / f"{i}.png", noise(4, 4))
    metadata(tmp_path, *({"file_name": f"{i}.png", "label": label} for i, label in enumerate(labels)))
    with pytest.raises(PerrinError, match=message) as error:
        Images.open(tmp_path)
    one_line(error)


@pytest.fixture
def broken_folder(tmp_path, write_png, noise):
    for i in range(4):
        write_png(tmp_path / f"good{i}.png", noise(32, 32, 3, seed=i))
    whole = (tmp_path / "good0.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    Image.fromarray(noise(64, 64, 3)).save(tmp_path / "cut.jpg", quality=95)
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "cut.jpg").read_bytes()[:2000])
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("this is no image")
    return tmp_path


def test_broken_images_are_refused_by_name(broken_folder):
    with pytest.raises(PerrinError, match="4 of 8 images") as error:
        Images.open(broken_folder)
    message = one_line(error)
    for name in (
        "cut.png (",
        "cut.jpg (",
        "empty.png (zero bytes)",
        "text.png (not an image)",
        "broken: skip",
    ):
        assert name in message


def test_broken_images_are_skipped_by_name_when_asked(broken_folder):
    dataset = Images.open(broken_folder, broken="skip")
    assert dataset.skipped == ["cut.jpg", "cut.png", "empty.png", "text.png"]
    assert [item["name"] for item in dataset] == [f"good{i}.png" for i in range(4)]
    assert dataset.description["skipped"] == 4


def test_an_image_that_breaks_after_it_was_opened_is_named(tmp_path, write_png, noise):
    path = write_png(tmp_path / "a.png", noise(8, 8))
    dataset = Images.open(tmp_path)
    path.write_bytes(b"")
    with pytest.raises(PerrinError, match=r"'a.png': zero bytes"):
        dataset[0]


def test_nothing_readable_is_refused_even_when_skipping(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(PerrinError, match="none of the 1 images"):
        Images.open(tmp_path, broken="skip")


def test_paths_without_images_get_one_clear_line(tmp_path, write_png, noise):
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.wav").write_bytes(b"x")
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "a.npz").write_bytes(b"x")
    single = write_png(tmp_path / "a.png", noise(4, 4))
    for path, message in [
        (tmp_path / "empty", "it is empty"),
        (tmp_path / "other", "holds 1 other files"),
        (tmp_path / "a.txt", "not a kind of file with images"),
        (tmp_path / "absent", "no file or folder"),
        (tmp_path / "a.npz", "cannot read"),
        (single, "one image; give its folder"),
    ]:
        with pytest.raises(PerrinError, match=message) as error:
            Images.open(path)
        one_line(error)


def test_modes_become_grey_or_colour_and_alpha_is_composited_on_white(tmp_path):
    red_half = np.zeros((4, 4, 4), np.uint8)
    red_half[..., 0], red_half[..., 3] = 255, 128
    Image.fromarray(red_half).save(tmp_path / "rgba.png")
    Image.fromarray(np.full((4, 4), 2 * 257, np.uint16)).save(tmp_path / "sixteen.png")
    Image.new("1", (4, 4), 1).save(tmp_path / "bit.png")
    Image.new("LA", (4, 4), (0, 0)).save(tmp_path / "clear.png")
    Image.new("CMYK", (4, 4), (0, 0, 0, 0)).save(tmp_path / "print.tif")
    Image.new("P", (4, 4)).save(tmp_path / "palette.png")
    pixels = {item["name"]: item["value"] for item in Images.open(tmp_path)}
    assert pixels["rgba.png"][0, 0].tolist() == [255, 127, 127]  # 0 * 128/255 + 255 * 127/255
    assert pixels["sixteen.png"].tolist() == [[2] * 4] * 4
    assert (pixels["bit.png"] == 255).all()
    assert pixels["clear.png"].shape == (4, 4)
    assert (pixels["clear.png"] == 255).all()
    assert pixels["print.tif"].shape == pixels["palette.png"].shape == (4, 4, 3)


def test_floating_point_pixels_are_broken_rather_than_clipped(tmp_path):
    Image.fromarray(np.full((4, 4), np.nan, np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(PerrinError, match="floating-point pixels"):
        Images.open(tmp_path)


def test_photos_are_turned_upright(tmp_path, noise):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned a quarter
    Image.fromarray(noise(4, 8)).save(tmp_path / "a.png", exif=exif)
    assert Images.open(tmp_path)[0]["value"].shape == (8, 4)


def parquet(path, **columns):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet as pq

    pq.write_table(pa.table(columns), path, row_group_size=2)
    return path


def test_a_file_that_is_no_parquet_is_named(tmp_path):
    pytest.importorskip("pyarrow")
    (tmp_path / "a.parquet").write_bytes(b"x")
    with pytest.raises(PerrinError, match=r"cannot read .* as parquet") as error:
        Images.open(tmp_path / "a.parquet")
    one_line(error)


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch):
    (tmp_path / "a.parquet").write_bytes(b"x")
    monkeypatch.setattr("perrin.kinds.parquet.find_spec", lambda name: None)
    with pytest.raises(PerrinError, match=r"pip install 'perrin\[parquet\]'"):
        Images.open(tmp_path / "a.parquet")


def test_parquet_bytes_labels_and_names(tmp_path, png_bytes, noise):
    images = [png_bytes(noise(4, 4, seed=i)) for i in range(5)]
    names = ["no", "yes", "no", "yes", "yes"]
    path = parquet(tmp_path / "a.parquet", image=images, label=[0, 2, 0, 2, 2], label_name=names)
    dataset = Images.open(path)
    assert dataset.classes == ["no", "1", "yes"]
    assert [item["label"] for item in dataset] == [0, 2, 0, 2, 2]
    assert all(np.array_equal(dataset[i]["value"], noise(4, 4, seed=i)) for i in range(5))


def test_a_folder_of_parquet_in_the_hugging_face_form(tmp_path, png_bytes, noise):
    for part in range(2):
        cells = [{"bytes": png_bytes(noise(4, 4, seed=10 * part + i)), "path": None} for i in range(3)]
        parquet(tmp_path / f"{part}.parquet", image=cells, style=["b", "a", "b"])
    dataset = Images.open(tmp_path, label_column="style")
    assert dataset.classes == ["a", "b"]
    assert dataset[4]["name"] == "1.parquet row 1"
    assert np.array_equal(dataset[4]["value"], noise(4, 4, seed=11))


def test_large_parquet_is_read_through_a_mapped_cache(tmp_path, png_bytes, noise, monkeypatch):
    images = [png_bytes(noise(4, 4, seed=i)) for i in range(7)]
    path = parquet(tmp_path / "a.parquet", image=images)
    small = Images.open(path)
    monkeypatch.setattr(files, "MEMORY_LIMIT", 0)
    for _ in range(2):  # written, then found
        large = Images.open(path)
        assert [item["value"].tolist() for item in large] == [item["value"].tolist() for item in small]
        assert large.description["sha256"] == small.description["sha256"]
    assert len(list(saving.cache_folder("parquet").iterdir())) == 1


def test_broken_parquet_rows_are_named(tmp_path, png_bytes, noise):
    path = parquet(tmp_path / "a.parquet", image=[png_bytes(noise(4, 4)), b"", None, b"junk"])
    with pytest.raises(PerrinError, match="3 of 4 images") as error:
        Images.open(path)
    assert "a.parquet row 1 (zero bytes), a.parquet row 2 (zero bytes), a.parquet row 3" in one_line(error)


def test_parquet_columns_are_checked(tmp_path, png_bytes, noise):
    path = parquet(tmp_path / "a.parquet", picture=[png_bytes(noise(4, 4))], caption=["a"], split=["train"])
    for options, message in [
        ({}, "no column 'image' but picture, caption"),
        ({"image_column": "caption"}, "holds string"),
        ({"image_column": "picture", "label_column": "captoin"}, "did you mean 'caption'"),
        ({"image_column": "picture", "subset": "test"}, "known: train"),
    ]:
        with pytest.raises(PerrinError, match=message) as error:
            Images.open(path, **options)
        one_line(error)
    assert len(Images.open(path, image_column="picture", subset="train")) == 1


def test_npz_with_one_or_two_sets(tmp_path, noise):
    pixels, labels = noise(6, 5, 4, 3), np.arange(6) % 3
    np.savez(tmp_path / "one.npz", images=pixels, labels=labels)
    np.savez(tmp_path / "two.npz", train_images=pixels, train_labels=labels, test_images=pixels[:2])
    one = Images.open(tmp_path / "one.npz")
    assert np.array_equal(one[3]["value"], pixels[3])
    assert one.classes == ["0", "1", "2"]
    assert len(Images.open(tmp_path / "two.npz", subset="test")) == 2
    with pytest.raises(PerrinError, match="subset: train or subset: test"):
        Images.open(tmp_path / "two.npz")
    with pytest.raises(PerrinError, match="did you mean 'train'"):
        Images.open(tmp_path / "two.npz", subset="trian")


def test_large_npz_is_mapped_through_the_cache(tmp_path, noise, monkeypatch):
    np.savez_compressed(tmp_path / "a.npz", images=noise(6, 5, 4))
    monkeypatch.setattr(files, "MEMORY_LIMIT", 0)
    dataset = Images.open(tmp_path / "a.npz")
    assert isinstance(dataset.source.images, np.memmap)
    assert np.array_equal(dataset[5]["value"], noise(6, 5, 4)[5])


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.full((2, 4, 4), np.nan, np.float32), "image 0 holds NaN"),
        (np.full((2, 4, 4), 3.0), "from 3 to 3"),
        (np.full((2, 4, 4), 300), "whole numbers 0..255"),
        (np.zeros((2, 4)), "shape"),
        (np.zeros((2, 4, 4, 7)), "shape"),
        (np.zeros((0, 4, 4), np.uint8), "empty"),
        (np.full((2, 4, 4), "a"), "not numbers"),
        (np.full((2, 4, 4), None), "pickle"),
    ],
)
def test_npz_values_that_are_no_pixels_are_refused(tmp_path, images, message):
    np.savez(tmp_path / "a.npz", images=images)
    with pytest.raises(PerrinError, match=message) as error:
        Images.open(tmp_path / "a.npz")
    one_line(error)


def test_floats_from_0_to_1_are_scaled(tmp_path):
    np.savez(tmp_path / "a.npz", images=np.linspace(0, 1, 32, dtype=np.float32).reshape(2, 4, 4))
    assert Images.open(tmp_path / "a.npz")[1]["value"].max() == 255


def test_the_bundled_digits_are_those_of_scikit_learn(tmp_path, monkeypatch):
    from sklearn.datasets import load_digits

    (tmp_path / "digits").mkdir()  # what was sampled into a folder of that name must not become training data
    monkeypatch.chdir(tmp_path)
    dataset, digits = Images.open("digits"), load_digits()
    assert [item["label"] for item in dataset] == digits.target.tolist()
    pixels = np.stack([item["value"] for item in dataset])
    assert np.array_equal(np.rint(pixels * (16 / 255)), digits.images)
    assert dataset.description["licence"]


def test_mnist_is_whole(sample_data):
    path = sample_data("mnist/mnist.npz")
    train, test = (Images.open(path, subset=subset) for subset in ("train", "test"))
    assert (len(train), len(test)) == (60_000, 10_000)
    assert [train[i]["label"] for i in range(6)] == [5, 0, 4, 1, 9, 2]
    assert Images.codec.fit(test).shape == (1, 28, 28)


def test_real_slices_in_parquet(sample_data):
    pytest.importorskip("pyarrow")
    dataset = Images.open(sample_data("medical/brain_mri_128.parquet"), subset="test")
    assert len(dataset) == 100
    assert dataset.classes == ["no_tumor", "glioma_tumor", "meningioma_tumor", "pituitary_tumor"]
    assert Images.codec.fit(dataset).shape == (1, 128, 128)


def test_a_survey_is_remembered_until_a_file_changes(tmp_path, write_png, noise, monkeypatch):
    monkeypatch.setattr(surveys, "REMEMBERED", 0)
    for i in range(3):
        write_png(tmp_path / f"{i}.png", noise(4, 4, seed=i))
    calls = []
    first = Images.open(tmp_path, progress=lambda done, total: calls.append((done, total)))
    again = Images.open(tmp_path, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(3, 3)]
    assert again.description == first.description
    (tmp_path / "1.png").write_bytes(b"")
    with pytest.raises(PerrinError, match=r"1\.png \(zero bytes\)"):
        Images.open(tmp_path)


def test_the_hash_follows_content_labels_and_nothing_else(tmp_path, write_png, noise):
    one, two = (classes_folder(tmp_path / name, write_png, noise) for name in ("one", "two"))
    assert Images.open(one).description["sha256"] == Images.open(two).description["sha256"]
    write_png(two / "dog" / "0.png", noise(8, 6, seed=99))
    assert Images.open(one).description["sha256"] != Images.open(two).description["sha256"]
    assert Images.open(one).description["sha256"] != Images.open(one, labels=False).description["sha256"]
    json.dumps(Images.open(one).description)


def test_reading_from_threads_equals_reading_in_turn(tmp_path, write_png, noise):
    from concurrent.futures import ThreadPoolExecutor

    dataset = Images.open(classes_folder(tmp_path, write_png, noise, per_class=40))
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(dataset.__getitem__, range(len(dataset))))
    assert all(np.array_equal(a["value"], b["value"]) for a, b in zip(together, dataset, strict=True))


def test_opening_hides_no_warning_of_the_caller(tmp_path, write_png, noise):
    write_png(tmp_path / "a.png", noise(4, 4))
    Images.open(tmp_path)
    with pytest.warns(UserWarning, match="still heard"):
        warnings.warn("still heard", UserWarning, stacklevel=1)


def test_importing_the_kinds_loads_no_heavy_library():
    code = (
        "import sys, perrin.kinds.images, perrin.kinds.arrays;"
        "print([name for name in ('sklearn', 'pyarrow', 'matplotlib', 'scipy') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
