"""Small scans that tests write: DICOM series and NIfTI files, of a patient whose name must not come out again."""

import nibabel
import numpy as np
import pydicom
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

SECRETS = (
    "SUSPICIOUS^NAME",
    "PID-4711",
    "19630412",
    "St. Elsewhere",
    "Dr. Who",
    "ACC-9",
    "secret note",
    "OP^ERATOR",
)
OBLIQUE = np.array(
    [[0.1, -0.7, 0.05, -31.5], [0.05, 0.1, -0.8, 22.25], [2.5, 0.05, 0.1, -7.125], [0, 0, 0, 1]]
)


def voxels(*shape, seed=0, low=-500, high=900):
    """Random whole numbers: a shifted, flipped or lost slice shows."""
    return np.random.default_rng(seed).integers(low, high, shape).astype(np.int16)


def write_slice(path, pixels, place, number=0, **changes):
    """One CT image of a series, full of identifiers; a change to None leaves an attribute out."""
    found = pydicom.Dataset()
    found.SOPClassUID, found.SOPInstanceUID = CTImageStorage, f"1.2.3.{number + 1}"
    found.StudyInstanceUID, found.SeriesInstanceUID, found.FrameOfReferenceUID = "1.2.30", "1.2.31", "1.2.32"
    found.Modality, found.SeriesNumber, found.InstanceNumber = "CT", 3, 77 - number
    found.PatientName, found.PatientID, found.PatientBirthDate = "SUSPICIOUS^NAME", "PID-4711", "19630412"
    found.StudyDate, found.InstitutionName = "19630412", "St. Elsewhere"
    found.ReferringPhysicianName, found.AccessionNumber = "Dr. Who", "ACC-9"
    found.OperatorsName, found.PatientComments = "OP^ERATOR", "secret note"
    found.add_new(0x00091001, "LO", "secret note")
    found.KVP, found.BodyPartExamined = "120", "HEAD"
    found.Rows, found.Columns = pixels.shape[:2]
    found.SamplesPerPixel, found.PhotometricInterpretation = 1, "MONOCHROME2"
    found.BitsAllocated, found.BitsStored, found.HighBit, found.PixelRepresentation = 16, 16, 15, 1
    found.RescaleSlope, found.RescaleIntercept = "1", "-1024"
    found.PixelSpacing, found.SliceThickness = ["0.8", "0.7"], "2.5"
    found.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    found.ImagePositionPatient = [float(n) for n in place]
    found.PixelData = np.ascontiguousarray(pixels).tobytes()
    for name, value in changes.items():
        if value is None:
            delattr(found, name)
        else:
            setattr(found, name, value)
    found.file_meta = FileMetaDataset()
    found.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, found, enforce_file_format=True)
    return path


def write_series(folder, numbers, **changes):
    """A series of slices 2.5 mm apart, in files whose names and numbers run against their places."""
    count = len(numbers)
    return [
        write_slice(
            folder / f"IM{count - i:03d}.dcm", numbers[i], (-12.5, -20.25, 100 + 2.5 * i), i, **changes
        )
        for i in range(count)
    ]


def write_nifti(path, numbers, affine=OBLIQUE, slope=None, secrets=False):
    """A NIfTI file of numbers [W, H, D]."""
    image = nibabel.Nifti1Image(numbers, affine)
    image.header.set_xyzt_units("mm")
    if slope is not None:
        image.header.set_slope_inter(*slope)
    if secrets:
        image.header["descrip"], image.header["db_name"] = "SUSPICIOUS^NAME", "PID-4711"
        image.header["aux_file"], image.header["intent_name"] = "St. Elsewhere", "ACC-9"
        image.header.extensions.append(nibabel.nifti1.Nifti1Extension(6, b"secret note of Dr. Who"))
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image, path)
    return path
