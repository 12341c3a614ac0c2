"""Parquet files with encoded images in a column, as bytes or as the Hugging Face form struct{bytes, path}."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from perrin.kinds.parquet import ParquetRows, read_column

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class ParquetImages(ParquetRows):
    """Encoded images by row, named "train.parquet row 17"."""

    unused: int = 0

    def encoded(self, index: int) -> bytes:
        """The bytes of the image, empty where the row has none."""
        cell = self.cell(index)
        if isinstance(cell, dict):
            cell = cell["bytes"]
        return cell or b""


def read_parquet(
    path: Path,
    image_column: str = "image",
    label_column: str | None = None,
    subset: str | None = None,
    labels: bool = True,
) -> ParquetImages:
    """The images of a parquet file or a folder of them; see `kinds.parquet.read_column`."""
    rows = read_column(path, image_column, "image_column", _wrong_type, label_column, subset, labels)
    return ParquetImages(rows.files, rows.column, rows.rows, rows.starts, rows.labels, rows.classes)


def _wrong_type(kind: pa.DataType) -> str | None:
    import pyarrow as pa

    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        kind = kind.field("bytes").type
    binary = pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
    return None if binary else "the bytes of image files"
