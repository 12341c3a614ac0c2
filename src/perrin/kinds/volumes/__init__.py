"""Volumes and medical images: NIfTI and DICOM, in and out with their geometry, identifiers left behind.

data = Volumes.open("scans/")                             # .nii.gz files, DICOM series, sub-folders as classes
codec = Volumes.codec.fit(data, axis="axial", window="brain", size=128)
slices = codec.cut(data)
batch = codec.encode([slices[0], slices[1]])              # state [2, 1, 128, 128]
"""

from __future__ import annotations

from perrin.kinds.provenance import read_provenance
from perrin.kinds.volumes.codec import VolumesCodec
from perrin.kinds.volumes.identifiers import Stripped, stripped
from perrin.kinds.volumes.opening import open_volumes
from perrin.kinds.volumes.patching import cut_patches, joined_patches, patch_places
from perrin.kinds.volumes.saving import export, read_saved
from perrin.kinds.volumes.volume import Volume

__all__ = [
    "Stripped",
    "Volume",
    "Volumes",
    "VolumesCodec",
    "cut_patches",
    "export",
    "joined_patches",
    "open_volumes",
    "patch_places",
    "read_provenance",
    "stripped",
]


class Volumes:
    """Volumes and medical images: .nii, .nii.gz, DICOM files and series; out as NIfTI, DICOM and PNG."""

    sources = ("path",)
    codec = VolumesCodec
    open = staticmethod(open_volumes)
    read_saved = staticmethod(read_saved)
