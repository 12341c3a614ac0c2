"""The libraries of medical files, asked for when a file of theirs is met."""

from __future__ import annotations

from importlib.util import find_spec

from perrin.errors import PerrinError


def need(library: str) -> None:
    """Refuse where pydicom or nibabel is not installed.

    Raises:
        PerrinError: saying how to install it.
    """
    if find_spec(library) is None:
        files = "DICOM" if library == "pydicom" else "NIfTI"
        raise PerrinError(f"{files} files need {library}: pip install 'perrin[medical]'")
