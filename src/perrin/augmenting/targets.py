"""Where a synthetic set and its report go: in the form of the data, and over nothing that is there."""

from __future__ import annotations

from pathlib import Path

from perrin.augmenting.layouts import Layout, layout_of
from perrin.augmenting.real import Real
from perrin.errors import PerrinError


def usual_target(data: Path) -> Path:
    """Where a set goes if nobody says: here, under the name of the data and with their ending."""
    name = data.name.lower()
    ending = "" if data.is_dir() else ".csv.gz" if name.endswith(".csv.gz") else data.suffix
    if not data.exists() and name == "digits":  # the bundled ones
        ending = ".npz"
    return Path(f"{data.name.removesuffix(ending) if data.exists() else data.name}-synthetic{ending}")


def report_folder(path: Path, layout: Layout) -> Path:
    """Where the report of a set goes: beside it."""
    name = path.name.removesuffix(layout.suffix) if layout.suffix else path.name
    return path.with_name(f"{name}-report")


def check_target(real: Real, path: Path) -> Layout:
    """The layout of the data, if a set can be written in it to that path.

    Raises:
        PerrinError: another suffix than the data's, or something that is there already.
    """
    layout = layout_of(real.dataset, real.path, real.options)
    own = path.suffix if layout.suffix == "" else path.name[-len(layout.suffix) :].lower()
    if own != layout.suffix:
        raise PerrinError(
            f"the data are {layout.form}, and their synthetic set is one too: give a name "
            + (f"that ends in {layout.suffix}" if layout.suffix else "without an ending")
            + f", not '{path}'"
        )
    for taken in (path, report_folder(path, layout)):
        if taken.exists() and not (taken.is_dir() and not any(taken.iterdir())):
            raise PerrinError(f"'{taken}' is there already; choose another name, or remove it")
    return layout
