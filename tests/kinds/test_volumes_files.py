"""NIfTI and DICOM in and out: geometry, values, identifiers."""

import gzip
import json
from dataclasses import replace

import numpy as np
import pytest

from perrin.errors import PerrinError
from perrin.kinds.provenance import read_provenance

nibabel = pytest.importorskip("nibabel")
pydicom = pytest.importorskip("pydicom")

from tests.kinds.scans import OBLIQUE, SECRETS, voxels, write_nifti, write_series, write_slice  # noqa: E402

from perrin.kinds.volumes import Volume, Volumes, export, open_volumes, stripped  # noqa: E402
from perrin.kinds.volumes.identifiers import FORM, TECHNIQUE  # noqa: E402

# PS3.15 table E.1-1: some of the attributes with the action X, Z, D or U
PROFILE = (
    "AccessionNumber AcquisitionDate AcquisitionTime AcquisitionComments AdmittingDate BranchOfService ContentDate "
    "ContentCreatorName ContrastBolusAgent CountryOfResidence CurrentPatientLocation DerivationDescription "
    "DetectorID DeviceSerialNumber DeviceUID EthnicGroup FrameOfReferenceUID ImageComments InstitutionAddress "
    "InstitutionName IssuerOfPatientID MedicalAlerts MilitaryRank NamesOfIntendedRecipientsOfResults Occupation "
    "OperatorsName OtherPatientIDs OtherPatientNames PatientAddress PatientAge PatientBirthDate PatientBirthName "
    "PatientComments PatientID PatientMotherBirthName PatientName PatientSex PatientSize PatientTelephoneNumbers "
    "PatientWeight PerformedProcedureStepID PerformingPhysicianName PhysiciansOfRecord PregnancyStatus ProtocolName "
    "ReferringPhysicianName RegionOfResidence RequestAttributesSequence RequestedProcedureID ReviewerName "
    "SOPInstanceUID SeriesDate SeriesDescription SeriesInstanceUID SmokingStatus StationName StudyComments "
    "StudyDate StudyDescription StudyID StudyInstanceUID StudyTime TimezoneOffsetFromUTC"
)


def only(path, **options):
    """The volume of a path that holds one."""
    (item,) = open_volumes(path, **options)
    return item["value"]


def same_world(one, other, atol=1e-6):
    """Both hold the same values at the same places of the patient, however their axes run."""
    one, other = one.standard(), other.standard()
    np.testing.assert_allclose(one.affine, other.affine, rtol=0, atol=atol)
    np.testing.assert_array_equal(one.stack, other.stack)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize(
    ("kind", "slope"),
    [("int16", None), ("uint8", (0.37, 6.6)), ("float32", None), ("uint16", (2.0, -1024.0))],
)
def test_nifti_is_written_back_with_the_same_header_geometry_and_numbers(tmp_path, name, kind, slope):
    numbers = voxels(5, 6, 7, low=0, high=250).astype(kind)
    source = write_nifti(tmp_path / "in" / name, numbers, slope=slope)
    (written,), _ = export(only(source), tmp_path / "out" / name)
    one, other = nibabel.load(source), nibabel.load(written)
    np.testing.assert_array_equal(np.asarray(one.dataobj), np.asarray(other.dataobj))
    np.testing.assert_array_equal(one.dataobj.get_unscaled(), other.dataobj.get_unscaled())
    assert one.get_data_dtype() == other.get_data_dtype()
    for field in (
        "pixdim",
        "qform_code",
        "sform_code",
        "quatern_b",
        "qoffset_x",
        "srow_x",
        "srow_z",
        "xyzt_units",
    ):
        np.testing.assert_array_equal(one.header[field], other.header[field])


def test_both_forms_of_a_nifti_place_are_kept_where_they_differ(tmp_path):
    image = nibabel.Nifti1Image(voxels(5, 6, 7), None)
    image.header.set_sform(OBLIQUE, 2)
    image.header.set_qform(np.diag([-2.0, 3.0, 4.0, 1.0]), 1)
    nibabel.save(image, tmp_path / "a.nii")
    volume = only(tmp_path / "a.nii")
    export(volume, tmp_path / "b.nii")
    one, other = (nibabel.load(tmp_path / name).header for name in ("a.nii", "b.nii"))
    for form in ("get_sform", "get_qform"):
        for got, wanted in zip(getattr(other, form)(coded=True), getattr(one, form)(coded=True), strict=True):
            np.testing.assert_array_equal(got, wanted)
    np.testing.assert_allclose(
        volume.affine[:, [2, 1, 0, 3]], OBLIQUE, rtol=1e-6
    )  # the sform is the one that counts


def test_a_voxel_of_a_nifti_file_lies_where_its_affine_says(tmp_path):
    volume = only(write_nifti(tmp_path / "a.nii.gz", voxels(5, 6, 7)))
    image = nibabel.load(tmp_path / "a.nii.gz")
    i, j, k = 3, 1, 5
    assert volume.values[0, k, j, i] == image.get_fdata()[i, j, k]
    np.testing.assert_allclose(volume.affine @ [k, j, i, 1], image.affine @ [i, j, k, 1])


@pytest.mark.parametrize("letters", ["RAS", "LPS", "LAS", "PIR", "SAL", "AIR"])
def test_any_orientation_becomes_the_standard_one_without_moving_a_voxel(tmp_path, letters):
    target = nibabel.orientations.axcodes2ornt(letters)
    straight = nibabel.Nifti1Image(voxels(5, 6, 7), np.diag([0.7, 0.8, 2.5, 1]))
    write = straight.as_reoriented(
        nibabel.orientations.ornt_transform(nibabel.io_orientation(straight.affine), target)
    )
    nibabel.save(write, tmp_path / "a.nii.gz")
    turned = only(tmp_path / "a.nii.gz").standard()
    assert turned.orientation == "LPS"
    assert turned.shape == (1, 7, 6, 5)
    np.testing.assert_allclose(turned.spacing, [2.5, 0.8, 0.7], rtol=1e-6)
    np.testing.assert_array_equal(turned.values[0, 2, 6 - 1 - 4, 5 - 1 - 3], straight.get_fdata()[3, 4, 2])
    np.testing.assert_allclose(turned.affine @ [2, 1, 1, 1], straight.affine @ [3, 4, 2, 1], atol=1e-5)


def test_slices_are_ordered_by_their_places_not_by_names_or_numbers(tmp_path):
    numbers = voxels(6, 5, 4)
    write_series(tmp_path / "series", numbers)
    volume = only(tmp_path / "series")
    np.testing.assert_array_equal(volume.values[0], numbers.astype(np.float32) - 1024)
    assert (volume.units, volume.modality, volume.orientation) == ("HU", "CT", "LPS")
    np.testing.assert_allclose(volume.spacing, [2.5, 0.8, 0.7])
    np.testing.assert_allclose(volume.positions, 100 + 2.5 * np.arange(6))
    np.testing.assert_allclose(
        volume.affine @ [1, 2, 3, 1], [12.5 - 2.1, 20.25 - 1.6, 102.5, 1]
    )  # RAS: -x, -y


def test_a_dicom_series_is_written_back_with_its_geometry_and_numbers(tmp_path):
    write_series(tmp_path / "in", voxels(6, 5, 4))
    volume = only(tmp_path / "in")
    files, _ = export(volume, tmp_path / "out.dcm", {"seed": 5})
    again = only(tmp_path / "out")
    assert len(files) == 6
    np.testing.assert_array_equal(again.values, volume.values)
    np.testing.assert_allclose(again.affine, volume.affine, rtol=0, atol=1e-9)
    assert (again.units, again.stored) == (volume.units, volume.stored)
    assert read_provenance(files[2])["seed"] == 5


def test_slices_keep_their_own_rescale_slopes(tmp_path):
    numbers = voxels(4, 5, 4, low=0)
    for i in range(4):
        place = (0, 0, 3.0 * i)
        write_slice(
            tmp_path / "pet" / f"{i}.dcm", numbers[i], place, i, RescaleSlope=str(0.5 + i), Modality="PT"
        )
    volume = only(tmp_path / "pet")
    np.testing.assert_allclose(volume.values[0, 2], numbers[2] * 2.5 - 1024)
    export(volume, tmp_path / "out.dcm")
    np.testing.assert_array_equal(only(tmp_path / "out").values, volume.values)


def test_oblique_and_sheared_volumes_go_from_nifti_to_dicom_and_back(tmp_path):
    volume = only(write_nifti(tmp_path / "a.nii.gz", voxels(5, 6, 7)))
    straight = replace(volume, affine=np.diag([2.5, 0.8, 0.7, 1.0])[[2, 1, 0, 3]])
    tilted = straight.affine.copy()
    tilted[1, 0] = 0.4  # a tilted gantry: slices shifted along their own columns
    for affine in (straight.affine, tilted):
        held = replace(volume, affine=affine, header={})
        export(held, tmp_path / "series.dcm")
        same_world(only(tmp_path / "series"), held)
        export(held, tmp_path / "b.nii.gz")
        same_world(only(tmp_path / "b.nii.gz"), held)


def test_values_of_a_model_are_written_to_16_bits_of_their_range(tmp_path):
    values = np.random.default_rng(0).normal(size=(1, 4, 5, 6)).astype(np.float32)
    drawn = Volume(values, modality="MR", header={"synthetic": True})
    export(drawn, tmp_path / "s.dcm")
    step = float(np.ptp(values)) / 65535
    assert np.abs(only(tmp_path / "s").values - values).max() <= 0.51 * step
    header = pydicom.dcmread(tmp_path / "s" / "0000.dcm")
    assert "SYNTHETIC" in header.ImageType
    assert header.ImageType[0] == "DERIVED"
    assert header.SeriesDescription == "Perrin synthetic"
    assert header.PatientName == "SYNTHETIC"
    export(drawn, tmp_path / "s.nii.gz")
    np.testing.assert_array_equal(only(tmp_path / "s.nii.gz").values, values)


def test_the_same_volume_has_the_same_identifiers_and_another_has_others(tmp_path):
    one = Volume(voxels(1, 2, 3, 4).astype(np.float32))
    other = replace(one, values=one.values + 1)
    uids = []
    for name, volume in (("a", one), ("b", one), ("c", other)):
        export(volume, tmp_path / f"{name}.dcm")
        header = pydicom.dcmread(tmp_path / name / "0001.dcm")
        uids.append([header.StudyInstanceUID, header.SeriesInstanceUID, header.SOPInstanceUID])
    assert uids[0] == uids[1]
    assert not set(uids[0]) & set(uids[2])
    assert len(set(uids[0])) == 3


def test_nothing_of_the_patient_leaves_with_a_dicom_series(tmp_path):
    write_series(tmp_path / "in", voxels(3, 5, 4), BurnedInAnnotation="YES")
    inside = b"".join(path.read_bytes() for path in (tmp_path / "in").iterdir())
    volume = only(tmp_path / "in")
    for target in ("out.dcm", "out.nii.gz"):
        files, left = export(volume, tmp_path / target)
        for path in files:
            content = path.read_bytes()
            content = gzip.decompress(content) if path.suffix == ".gz" else content
            for secret in SECRETS:
                assert secret.encode() in inside
                assert secret.encode() not in content
            for uid in (b"1.2.30", b"1.2.31", b"1.2.32"):
                assert uid not in content
            assert read_provenance(path)["stripped"]["removed"] == left.removed
    assert {"PatientName", "PatientID", "InstitutionName", "private group 0009", "StudyInstanceUID"} <= set(
        left.removed
    )
    assert any("burned" in warning for warning in left.warnings)
    assert any("face" in warning for warning in left.warnings)
    assert "PatientName" in stripped([volume]).text
    assert pydicom.dcmread(files[0]).KVP == 120 if files[0].suffix == ".dcm" else True


def test_nothing_of_the_patient_leaves_with_a_nifti_file(tmp_path):
    volume = only(write_nifti(tmp_path / "a.nii", voxels(5, 6, 7), secrets=True))
    inside = (tmp_path / "a.nii").read_bytes()
    (written,), left = export(volume, tmp_path / "b.nii")
    content = written.read_bytes()
    hidden = (b"SUSPICIOUS^NAME", b"PID-4711", b"St. Elsewhere", b"ACC-9", b"secret note of Dr. Who")
    assert all(secret in inside and secret not in content for secret in hidden)
    assert {"descrip", "db_name", "aux_file", "intent_name", "extension (6)"} <= set(left.removed)


def test_no_attribute_of_the_basic_profile_is_kept():
    assert not set(PROFILE.split()) & {*TECHNIQUE, *FORM}


@pytest.mark.parametrize("sense", ["MONOCHROME1", "MONOCHROME2"])
def test_bright_is_high_whichever_way_the_file_counts(tmp_path, sense):
    numbers = voxels(5, 4, low=0, high=4096)
    write_slice(tmp_path / "x.dcm", numbers, (0, 0, 0), PhotometricInterpretation=sense, BitsStored=12, HighBit=11,
                PixelRepresentation=0, RescaleIntercept="0", Modality="DX")  # fmt: skip
    volume = only(tmp_path / "x.dcm")
    np.testing.assert_array_equal(volume.bright()[0], 4095 - numbers if sense == "MONOCHROME1" else numbers)
    export(volume, tmp_path / "y.dcm")
    again = only(tmp_path / "y.dcm")
    assert again.photometric == sense
    np.testing.assert_array_equal(again.values, volume.values)
    assert any("burned" in warning for warning in volume.warnings)


def test_enhanced_multi_frame_images_are_placed_by_their_functional_groups(tmp_path):
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    def group(**held):
        found = Dataset()
        for name, inner in held.items():
            one = Dataset()
            for keyword, value in inner.items():
                setattr(one, keyword, value)
            setattr(found, name, Sequence([one]))
        return found

    numbers, heights = voxels(3, 5, 4), [4.0, 0.0, 2.0]
    frames = [group(PlanePositionSequence={"ImagePositionPatient": [1, 2, z]}) for z in heights]
    shared = group(
        PlaneOrientationSequence={"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]},
        PixelMeasuresSequence={"PixelSpacing": ["0.5", "0.6"], "SliceThickness": "2"},
        PixelValueTransformationSequence={"RescaleSlope": "2", "RescaleIntercept": "-10"},
    )
    write_slice(
        tmp_path / "m.dcm", numbers.reshape(15, 4), (0, 0, 0), Rows=5, NumberOfFrames=3, ImagePositionPatient=None,
        ImageOrientationPatient=None, PixelSpacing=None, RescaleSlope=None, RescaleIntercept=None,
        SharedFunctionalGroupsSequence=Sequence([shared]), PerFrameFunctionalGroupsSequence=Sequence(frames),
    )  # fmt: skip
    volume = only(tmp_path / "m.dcm")
    np.testing.assert_array_equal(volume.values[0], numbers[[1, 2, 0]] * 2.0 - 10)
    np.testing.assert_allclose(volume.positions, [0, 2, 4])
    np.testing.assert_allclose(volume.spacing, [2, 0.5, 0.6])


LOADED = {
    "CT_small.dcm": (1, 128, 128),
    "JPEG2000.dcm": (1, 1024, 256),
    "MR_small.dcm": (1, 64, 64),
    "MR_small_RLE.dcm": (1, 64, 64),
    "MR_small_bigendian.dcm": (1, 64, 64),
    "SC_rgb_rle_2frame.dcm": (3, 2, 100, 100),
    "examples_palette.dcm": (3, 350, 800),
    "examples_rgb_color.dcm": (3, 240, 320),
    "liver_1frame.dcm": (1, 512, 512),
    "rtdose.dcm": (1, 15, 10, 10),
}


@pytest.mark.parametrize("name", LOADED)
def test_every_real_dicom_file_loads(sample_data, name):
    volume = only(sample_data("medical/dicom") / name)
    assert volume.shape == LOADED[name]
    assert np.isfinite(volume.values).all()


def test_compressions_and_byte_orders_of_one_image_give_the_same_values(sample_data):
    folder = sample_data("medical/dicom")
    plain = only(folder / "MR_small.dcm").values
    for other in ("MR_small_RLE.dcm", "MR_small_bigendian.dcm"):
        np.testing.assert_array_equal(only(folder / other).values, plain)


def test_real_values_have_their_units(sample_data):
    folder = sample_data("medical/dicom")
    ct, dose = only(folder / "CT_small.dcm"), only(folder / "rtdose.dcm")
    assert (ct.units, float(ct.values.min()), float(ct.values.max())) == ("HU", -896, 1167)
    np.testing.assert_allclose(dose.values.max(), 1.254, rtol=1e-6)
    np.testing.assert_allclose(dose.positions, -761.87 + 5 * np.arange(15), atol=1e-6)
    palette = only(folder / "examples_palette.dcm")
    assert len(np.unique(palette.values.reshape(3, -1), axis=1).T) > 10  # colours, not indices


@pytest.mark.parametrize("name", ["CT_AVM", "spm152", "someones_anatomy", "someones_epi"])
def test_real_nifti_files_come_back_to_the_bit(sample_data, tmp_path, name):
    source = sample_data("medical/nifti") / f"{name}.nii.gz"
    (written,), _ = export(only(source), tmp_path / "out.nii")
    one, other = nibabel.load(source), nibabel.load(written)
    np.testing.assert_array_equal(one.affine, other.affine)
    np.testing.assert_array_equal(one.dataobj.get_unscaled(), other.dataobj.get_unscaled())
    assert (one.dataobj.slope, one.dataobj.inter) == (other.dataobj.slope, other.dataobj.inter)


@pytest.mark.parametrize("name", ["CT_small", "MR_small", "examples_rgb_color"])
def test_real_dicom_files_come_back_without_their_identifiers(sample_data, tmp_path, name):
    source = sample_data("medical/dicom") / f"{name}.dcm"
    volume = only(source)
    (written,), _ = export(volume, tmp_path / "out.dcm")
    again = only(written)
    np.testing.assert_array_equal(again.values, volume.values)
    np.testing.assert_allclose(again.affine, volume.affine, rtol=0, atol=1e-9)
    header, content = pydicom.dcmread(source), written.read_bytes()
    for keyword in (
        "PatientName",
        "PatientID",
        "InstitutionName",
        "StationName",
        "StudyInstanceUID",
        "SOPInstanceUID",
    ):
        value = str(header.get(keyword) or "")
        assert not value or value.encode() not in content


def test_descriptions_name_what_is_withheld_and_never_its_values(tmp_path):
    write_series(tmp_path / "in", voxels(3, 5, 4))
    said = json.dumps(Volumes.open(tmp_path / "in").description)
    assert "PatientName" in said
    assert not any(secret in said for secret in SECRETS)


def test_the_affine_of_the_oblique_test_file_is_what_it_claims(tmp_path):
    volume = only(write_nifti(tmp_path / "a.nii.gz", voxels(5, 6, 7)))
    np.testing.assert_allclose(volume.affine, OBLIQUE[:, [2, 1, 0, 3]], rtol=1e-6)


def test_a_dose_is_not_written_as_dicom(tmp_path):
    dose = Volume(np.ones((1, 2, 3, 4), np.float32), modality="RTDOSE")
    with pytest.raises(PerrinError, match="a dose is not written as DICOM"):
        export(dose, tmp_path / "d.dcm")
    export(dose, tmp_path / "d.nii.gz")


def test_a_series_is_not_written_among_the_slices_of_another(tmp_path):
    longer = Volume(voxels(1, 4, 5, 6).astype(np.float32))
    export(longer, tmp_path / "s.dcm")
    export(replace(longer, values=longer.values + 1), tmp_path / "s.dcm")  # in its place
    with pytest.raises(PerrinError, match=r"other DICOM files already \(0003\.dcm\)"):
        export(replace(longer, values=longer.values[:, :3]), tmp_path / "s.dcm")
