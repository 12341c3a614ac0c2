"""Parquet files with encoded pictures in a column, labels and a split in others. Out with the same columns."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perrin.augmenting.layouts.made import Made, filling, png_bytes
from perrin.kinds.provenance import write_sidecar
from perrin.saving import replacing

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = 1_000  # in a row group


@dataclass(frozen=True)
class Table:
    """One parquet file, or a folder of them that have the same columns.

    Args:
        path: of the real data; options: that they were opened with.
    """

    path: Path
    options: dict[str, Any]

    @property
    def suffix(self) -> str:
        """ "" for a folder of files."""
        return "" if self.path.is_dir() else ".parquet"

    @property
    def form(self) -> str:
        """What it is called."""
        return "a folder of parquet files" if self.path.is_dir() else "a parquet file"

    def write(self, target: Path, made: Made, with_real: bool) -> list[Path]:
        """One file of synthetic rows, or of all rows; into a folder the real files go as they are."""
        import pyarrow as pa
        from pyarrow import parquet

        if not self.path.is_dir():
            table = _rows(made, parquet.read_schema(self.path), self.options)
            real = parquet.read_table(self.path) if with_real else table[:0]
            _write(pa.concat_tables([real, table.cast(real.schema)]), target, made, len(real))
            return [target]
        parts = sorted(self.path.glob("*.parquet"))
        with filling(target) as folder:
            for part in parts if with_real else []:
                shutil.copyfile(part, folder / part.name)
            _write(
                _rows(made, parquet.read_schema(parts[0]), self.options),
                folder / "synthetic.parquet",
                made,
                0,
            )
        return [target / "synthetic.parquet"]


def _write(table: pa.Table, file: Path, made: Made, before: int) -> None:
    """One file and its sidecar; `before`: real rows, which come first."""
    from pyarrow import parquet

    with replacing(file) as part:
        parquet.write_table(table, part, row_group_size=ROWS)
    real_rows = {"real_rows": before} if before else {}
    write_sidecar(file, {**real_rows, "items": [dict(one) for one in made.provenance]})


def _rows(made: Made, schema: pa.Schema, options: dict[str, Any]) -> pa.Table:
    """The synthetic rows by that schema: what means nothing of them is null."""
    import pyarrow as pa

    known = _known(made, schema, options)
    arrays = [
        pa.array(known[field.name], field.type) if field.name in known else pa.nulls(len(made), field.type)
        for field in schema
    ]
    return pa.table(arrays, schema=schema)


def _known(made: Made, schema: pa.Schema, options: dict[str, Any]) -> dict[str, list[Any]]:
    """Column -> its values: pictures, labels, their names, and the part that they are of."""
    import pyarrow as pa

    image = options.get("image_column", "image")
    encoded: list[Any] = [png_bytes(v, p) for v, p in zip(made.values, made.provenance, strict=True)]
    if pa.types.is_struct(schema.field(image).type):  # the Hugging Face form
        fields = [field.name for field in schema.field(image).type]
        encoded = [{**dict.fromkeys(fields), "bytes": one} for one in encoded]
    known = {image: encoded}
    label = options.get("label_column") or ("label" if "label" in schema.names else None)
    if label is not None and made.labels is not None and made.names is not None:
        numbers = pa.types.is_integer(schema.field(label).type)
        known[label] = list(made.labels) if numbers else made.names
        if numbers and "label_name" in schema.names:
            known["label_name"] = made.names
    if "split" in schema.names:
        known["split"] = [options.get("subset") or "train"] * len(made)
    return known
