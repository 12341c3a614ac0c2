"""How a file was made, carried by it: a text chunk `perrin` in a PNG, a comment in a GIF, a field of each record of
an SDF, an extension of a NIfTI file, a private attribute of a DICOM file, a JSON sidecar.

The content is one JSON object. Many items share most of what is said of them, which is written once, since readers
refuse long texts (Pillow: more than a mebibyte). PNG: an iTXt chunk (PNG specification 11.3.3.4), since tEXt cannot
hold the names of classes in every language.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from html import unescape
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin

from perrin.errors import PerrinError
from perrin.saving import replacing

CHUNK = "perrin"


def dumps(provenance: Mapping[str, Any], **options: Any) -> str:
    """JSON; of `{"items": [...]}` what all items share is written once, the rest as columns."""
    items = provenance.get("items")
    if not items or any(item.keys() != items[0].keys() for item in items):
        return json.dumps(provenance, **options)
    shared = {k: v for k, v in items[0].items() if all(item[k] == v for item in items)}
    columns = {k: [item[k] for item in items] for k in items[0] if k not in shared}
    rest = {k: v for k, v in provenance.items() if k != "items"}
    return json.dumps({**rest, "shared": shared, "count": len(items), "columns": columns}, **options)


def loads(text: str | bytes) -> Any:
    """What `dumps` was given."""
    found = json.loads(text)
    if not isinstance(found, dict) or not {"shared", "count", "columns"} <= found.keys():
        return found
    shared, count, columns = (found.pop(key) for key in ("shared", "count", "columns"))
    items = [{**shared, **{k: values[i] for k, values in columns.items()}} for i in range(count)]
    return {**found, "items": items}


def png_text(
    provenance: Mapping[str, Any], others: Mapping[str, str] | None = None
) -> PngImagePlugin.PngInfo:
    """The text chunk to save a PNG with (`image.save(..., pnginfo=png_text(provenance))`).

    Args:
        others: chunks beside it, which other tools read.

    Raises:
        PerrinError: a text that is too long for readers of PNG.
    """
    text = dumps(provenance, ensure_ascii=False)
    if len(text.encode()) > PngImagePlugin.MAX_TEXT_CHUNK:
        count = len(provenance.get("items", [None]))
        raise PerrinError(
            f"{count:,} items are too many for one picture to say how they were made; save fewer in one"
        )
    info = PngImagePlugin.PngInfo()
    info.add_itxt(CHUNK, text, zip=True)
    for name, other in (others or {}).items():
        info.add_itxt(name, other)
    return info


def sidecar(path: Path) -> Path:
    """The JSON file that stands beside a file which cannot carry text: `points.csv` has `points.csv.json`."""
    return path.with_name(path.name + ".json")


def write_sidecar(path: Path, provenance: Mapping[str, Any]) -> Path:
    """Write the sidecar of `path` and return its name."""
    beside = sidecar(path)
    with replacing(beside) as part:
        part.write_text(dumps(provenance, ensure_ascii=False) + "\n", encoding="utf-8")
    return beside


def read_provenance(path: str | Path) -> dict[str, Any]:
    """How the file at `path` was made: the dictionary it was saved with.

    A single image holds its own; a grid, an animation and a file of arrays hold `{"items": [one each]}`.

    Raises:
        PerrinError: the file is missing, is not readable, or carries no provenance.
    """
    path = Path(path)
    text = _text(path)
    if text is None:
        raise PerrinError(
            f"'{path}' does not say how it was made: no {CHUNK!r} text in it, no '{path.name}.json' beside it"
        )
    try:
        found = loads(text)
    except ValueError as error:
        raise PerrinError(f"the provenance of '{path}' is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise PerrinError(f"the provenance of '{path}' is not a JSON object")
    return found


def _of_page(page: str) -> str | None:
    """What a page says in its element `made`."""
    found = re.search(r'<pre id="made">(.*?)</pre>', page, re.DOTALL)
    return None if found is None else unescape(found[1])


def _of_records(content: str) -> str | None:
    """What the records of a structure-data file say in their fields `perrin`, a line each."""
    found = re.findall(rf"(?m)^> +<{CHUNK}>.*\n(.*)$", content)
    return found[0] if len(found) == 1 else f'{{"items": [{",".join(found)}]}}' if found else None


def _of_scan(path: Path) -> str | None:
    """What a medical file says of itself."""
    from perrin.kinds.volumes.dicom_writing import dicom_text
    from perrin.kinds.volumes.nifti import is_nifti, nifti_text

    return nifti_text(path) if is_nifti(path) else dicom_text(path)


def _text(path: Path) -> str | bytes | None:
    if not path.is_file():
        raise PerrinError(f"no file '{path}'")
    try:
        if sidecar(path).is_file():
            return sidecar(path).read_text(encoding="utf-8")
        if path.suffix.lower() == ".html":
            return _of_page(path.read_text(encoding="utf-8"))
        if path.suffix.lower() == ".sdf":
            return _of_records(path.read_text(encoding="utf-8"))
        if path.name.lower().endswith((".nii", ".nii.gz", ".dcm")):
            return _of_scan(path)
        if path.suffix.lower() not in (".png", ".gif"):
            return None
        with Image.open(path) as image:
            image.load()  # text chunks may follow the pixels
            held = image.info.get(CHUNK if path.suffix.lower() == ".png" else "comment")
            return held if isinstance(held, str | bytes) else None
    except (OSError, ValueError, SyntaxError) as error:
        raise PerrinError(f"cannot read '{path}': {error}") from error
