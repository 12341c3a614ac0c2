"""What is written: files that are whole, that say how they were made, and that can be looked at."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from perrin.errors import PerrinError
from perrin.kinds.images import ImageCodec, read_provenance, save_animation
from perrin.kinds.images.gallery import save_images

MADE = [{"index": i, "label": i % 2, "seed": 7, "note": "naïve ✓"} for i in range(5)]


@pytest.fixture
def codec():
    return ImageCodec((3, 6, 5), ["cat", "a/b dog"], 0.5)


def test_single_files_a_grid_and_their_provenance(tmp_path, codec, noise):
    decoded = [noise(6, 5, 3, seed=i) for i in range(5)]
    written = codec.save(decoded, tmp_path / "out", MADE)
    names = [
        "00000_cat.png",
        "00001_a-b-dog.png",
        "00002_cat.png",
        "00003_a-b-dog.png",
        "00004_cat.png",
        "grid.png",
    ]
    assert [path.name for path in written] == names
    for path, pixels, made in zip(written, decoded, MADE, strict=False):
        assert np.array_equal(np.asarray(Image.open(path)), pixels)
        assert read_provenance(path) == made
    assert read_provenance(written[-1]) == {"items": MADE}
    assert not list((tmp_path / "out").glob(".*"))


def test_chunks_go_into_one_folder_by_their_index(tmp_path, codec, noise):
    for start in (0, 2):
        decoded = [noise(6, 5, 3, seed=start + i) for i in range(2)]
        codec.save(decoded, tmp_path, MADE[start : start + 2], grid=False)
    assert sorted(path.name[:5] for path in tmp_path.iterdir()) == ["00000", "00001", "00002", "00003"]


def test_a_png_name_is_one_file(tmp_path, codec, noise):
    decoded = [noise(6, 5, 3, seed=i) for i in range(2)]
    assert codec.save(decoded[:1], tmp_path / "one.png", MADE[:1]) == [tmp_path / "one.png"]
    assert np.array_equal(np.asarray(Image.open(tmp_path / "one.png")), decoded[0])
    codec.save(decoded, tmp_path / "two.png", MADE[:2])
    assert Image.open(tmp_path / "two.png").size == codec.picture(decoded).size
    with pytest.raises(PerrinError, match=r"saved as \.png"):
        codec.save(decoded, tmp_path / "two.jpg", MADE[:2])


def test_a_grid_shows_every_pixel_of_small_images_as_a_square(noise):
    codec = ImageCodec((1, 8, 8), None, 0.5)
    decoded = [noise(8, 8, seed=i) for i in range(6)]
    sheet = np.asarray(codec.picture(decoded, columns=3))
    assert sheet.shape == (2 * 66 + 2, 3 * 66 + 2)
    assert np.array_equal(sheet[68 + 4 : 68 + 64 : 8, 134 + 4 : 134 + 64 : 8], decoded[5])
    assert codec.picture([]) is None


def test_large_images_keep_their_size_in_a_grid(noise):
    assert ImageCodec((3, 100, 90), None, 0.5).picture([noise(100, 90, 3)]).size == (94, 104)


def test_an_animation_holds_its_frames_and_its_provenance(tmp_path, codec, noise):
    grids = [codec.picture([noise(6, 5, 3, seed=i)]) for i in range(4)]
    path = save_animation(grids, tmp_path / "a.gif", {"items": MADE}, seconds=0.2, hold=1.0)
    with Image.open(path) as image:
        assert image.n_frames == 4
        image.seek(3)
        assert image.info["duration"] == 1000
    assert read_provenance(path) == {"items": MADE}
    with pytest.raises(PerrinError, match="no frames"):
        save_animation([], tmp_path / "b.gif")
    with pytest.raises(PerrinError, match=r"saved as \.gif"):
        save_animation(grids, tmp_path / "b.mp4")


def test_files_without_provenance_say_so(tmp_path, write_png, noise):
    (tmp_path / "a.npy").write_bytes(b"x")
    (tmp_path / "b.png").write_bytes(b"x")
    (tmp_path / "c.csv").write_text("x")
    (tmp_path / "c.csv.json").write_text("{")
    for path, message in [
        (write_png(tmp_path / "plain.png", noise(4, 4)), "does not say how it was made"),
        (tmp_path / "a.npy", "does not say how it was made"),
        (tmp_path / "b.png", "cannot read"),
        (tmp_path / "c.csv", "not JSON"),
        (tmp_path / "absent.png", "no file"),
    ]:
        with pytest.raises(PerrinError, match=message) as error:
            read_provenance(path)
        assert "\n" not in str(error.value)


# A limit on the size of files stands in for a full disk: an OSError in the middle of writing.
FULL_DISK = """
import resource, sys
from pathlib import Path
import numpy as np
from perrin.errors import PerrinError
from perrin.kinds.images import ImageCodec, save_animation
from perrin.kinds.arrays import ArrayCodec
images, arrays = ImageCodec((3, 64, 64), None, 0.5), ArrayCodec((64,), None, 1.0, [0.0], [1.0])
pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
points = [np.random.default_rng(0).normal(size=64)] * 20
folder = Path(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
for save in (
    lambda: images.save([pixels], folder / "kept.png", [{}]),
    lambda: images.save([pixels[:2, :2], pixels], folder / "many", [{}, {}]),
    lambda: save_animation([images.picture([pixels])], folder / "a.gif"),
    lambda: arrays.save(points, folder / "a.npy", [{}] * 20),
    lambda: arrays.save(points, folder / "a.npz", [{}] * 20),
    lambda: arrays.save(points, folder / "a.csv", [{}] * 20),
):
    try:
        save()
        print("no error")
    except PerrinError as error:
        print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files")
def test_a_full_disk_names_the_file_and_leaves_what_was_there(tmp_path):
    (tmp_path / "kept.png").write_bytes(b"the old file")
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    names = ["kept.png", "many/00001.png", "a.gif", "a.npy", "a.npz", "a.csv"]
    assert len(lines) == len(names)
    for line, name in zip(lines, names, strict=True):
        assert line.startswith(f"cannot write {tmp_path / name}: ")
    assert (tmp_path / "kept.png").read_bytes() == b"the old file"
    left = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert left == ["kept.png", "many/00000.png"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path, codec, noise):
    (tmp_path / "file").write_text("x")
    with pytest.raises(PerrinError, match="cannot write"):
        codec.save([noise(6, 5, 3)], tmp_path / "file" / "out", [{}])


def test_a_grid_of_thousands_opens_and_says_how_each_item_was_made(tmp_path):
    plan = {"rule": "dpmpp_2m", "grid": [0.1234567890123 * k for k in range(40)]}
    made = [{"seed": 0, "plan": plan, "index": i, "label": i % 10} for i in range(2500)]
    [path] = save_images([np.zeros((8, 8), np.uint8)] * 2500, tmp_path / "grid.png", made)
    with Image.open(path) as image:  # Pillow refuses texts of more than a mebibyte
        assert image.size[0] > 100
    assert read_provenance(path) == {"items": made}


def test_items_that_say_different_things_keep_them(tmp_path):
    made = [{"seed": 0, "label": 1}, {"seed": 1}]
    [path] = save_images([np.zeros((8, 8), np.uint8)] * 2, tmp_path / "grid.png", made)
    assert read_provenance(path) == {"items": made}
