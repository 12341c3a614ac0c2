"""Small sets of real pictures and points in every layout, and models that know their classes."""

import json

import numpy as np
import pyarrow as pa
from PIL import Image
from pyarrow import parquet
from tests.model.making import make_model

from perrin.kinds.arrays import Arrays
from perrin.kinds.images import Images

CLASSES = ["cat", "dog", "owl"]
COUNTS = (9, 7, 5)
LABELS = [label for label, count in enumerate(COUNTS) for _ in range(count)]


def pixels(seed=0, side=8):
    """Random grey pictures, as many as there are labels."""
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (side, side), np.uint8) for _ in LABELS]


def picture_model(classes=CLASSES, shape=(1, 8, 8), **sampling):
    """Grey pictures of these classes, by a small U-Net with random weights."""
    codec = Images.codec(shape, classes, 0.75)
    net = {"name": "unet", "channels": 8, "multipliers": [1, 2], "blocks": 1}
    return make_model(net, codec, "images", **{"guidance": 1.0, "steps": 2, **sampling})


def array_model(classes=("0", "1"), size=2, whole=None, spread=1.0):
    """Vectors of these classes, by a small MLP with random weights."""
    codec = Arrays.codec((size,), list(classes), 1.0, [0.0] * size, [spread] * size, whole=whole)
    return make_model({"name": "mlp", "width": 16, "blocks": 1}, codec, "arrays", guidance=1.0, steps=2)


def folder(path, side=8):
    """Sub-folders as classes; files of two kinds and a deeper folder."""
    for i, (label, image) in enumerate(zip(LABELS, pixels(side=side), strict=True)):
        file = path / CLASSES[label] / ("deep" if i == 1 else ".") / f"{i}.{'bmp' if i % 2 else 'png'}"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(file)
    return path, {}


def listed(path, names=True):
    """A metadata.jsonl with names or numbers as labels, and a key of its own."""
    (path / "images").mkdir(parents=True)
    lines = []
    for i, (label, image) in enumerate(zip(LABELS, pixels(), strict=True)):
        Image.fromarray(image).save(path / "images" / f"{i}.png")
        said = {"label": CLASSES[label]} if names else {"label": label, "label_name": CLASSES[label]}
        lines.append({"file_name": f"images/{i}.png", "patient": i, **said})
    (path / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return path, {}


def encoded(path, image):
    """The bytes of a picture file."""
    Image.fromarray(image).save(path)
    return path.read_bytes()


def table(path, form="bytes", folder=False):
    """Parquet with a split, names of the labels and a column of the source's own."""
    scratch = path.with_name("scratch.png")
    cells = [encoded(scratch, image) for image in [*pixels(), *pixels(1)]]
    scratch.unlink()
    columns = {
        "image": cells if form == "bytes" else [{"bytes": cell, "path": "a.png"} for cell in cells],
        "label": pa.array(LABELS * 2, pa.int32()),
        "label_name": [CLASSES[label] for label in LABELS] * 2,
        "split": ["train"] * len(LABELS) + ["test"] * len(LABELS),
        "width": [8] * 2 * len(LABELS),
    }
    if folder:
        path.mkdir()
    parquet.write_table(pa.table(columns), path / "part.parquet" if folder else path)
    return path, {"subset": "train"}


def stack(path, dtype=np.uint8, names=False, channels=False, subset=None):
    """An .npz of pictures."""
    prefix = f"{subset}_" if subset else ""
    images = np.stack(pixels())
    if np.dtype(dtype) == np.bool_:
        images = images > 127
    elif dtype != np.uint8:
        images = (images / 255).astype(dtype)
    images = images[..., None] if channels else images
    labels = np.array([CLASSES[label] for label in LABELS]) if names else np.array(LABELS, np.uint8)
    held = {f"{prefix}images": images, f"{prefix}labels": labels}
    if not names:
        held["label_names"] = np.array(CLASSES)
    if subset:
        held |= {"test_images": np.stack(pixels(1)), "test_labels": labels}
    np.savez(path, **held)
    return path, {"subset": subset} if subset else {}


def points(seed=0):
    """Two classes of points, and their labels."""
    rng = np.random.default_rng(seed)
    labels = np.arange(40) % 2
    return rng.normal(size=(40, 2)) + 4 * labels[:, None], labels


def lines(path, header=True, compressed=False):
    """A csv file with a column that is not read."""
    import gzip

    values, labels = points()
    rows = [
        f"{x!r},note {i},{y!r},{label}"
        for i, ((x, y), label) in enumerate(zip(values.tolist(), labels, strict=True))
    ]
    text = "\n".join([*(["x,note,y,label"] if header else []), *rows])
    path.write_bytes(gzip.compress(text.encode()) if compressed else text.encode())
    return path, {"columns": ["x", "y"]} if header else {"columns": ["0", "2"], "label": "3", "header": False}


def held(path, names=False):
    """An .npz of vectors in single precision, with a key and labels of their own names."""
    values, labels = points()
    other = np.array(["0", "1"])[labels] if names else labels.astype(np.int16)
    np.savez(path, points=values.astype(np.float32), side=other, more=np.zeros(3))
    return path, {"key": "points", "label": "side"}
