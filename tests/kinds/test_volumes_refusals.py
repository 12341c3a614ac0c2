"""What is no volume is refused with the reason, and folders of cases are understood as they lie."""

import importlib.util
import shutil

import numpy as np
import pytest

from perrin.errors import PerrinError

nibabel = pytest.importorskip("nibabel")
pydicom = pytest.importorskip("pydicom")

from tests.kinds.scans import voxels, write_nifti, write_series, write_slice  # noqa: E402

from perrin.kinds.volumes import open_volumes  # noqa: E402
from perrin.kinds.volumes.needs import need  # noqa: E402


def refused(path, **options):
    """The line with which a path is refused."""
    with pytest.raises(PerrinError) as caught:
        open_volumes(path, **options)
    line = str(caught.value)
    assert "\n" not in line
    return line


@pytest.fixture
def series(tmp_path):
    """A whole series of eight slices; index i is the file of slice i."""
    return write_series(tmp_path / "series", voxels(8, 5, 4))


def test_a_missing_slice_is_named_with_its_neighbours_and_their_places(series):
    series[3].unlink()
    line = refused(series[0].parent)
    assert "1 slice is missing" in line
    assert series[2].name in line
    assert series[4].name in line
    assert "5.00 mm" in line
    series[4].unlink()
    assert "2 slices are missing" in refused(series[0].parent)


def test_a_slice_that_is_there_twice_is_refused(series):
    shutil.copy(series[3], series[3].with_name("copy.dcm"))
    line = refused(series[0].parent)
    assert "the same image is there twice" in line
    assert "copy.dcm" in line


def test_phases_and_echoes_in_one_series_are_refused_with_what_differs(series):
    folder = series[0].parent
    for i in range(8):
        place = (-12.5, -20.25, 100 + 2.5 * i)
        write_slice(folder / f"second{i}.dcm", voxels(5, 4, seed=i), place, 50 + i, EchoTime="80")
    line = refused(folder)
    assert "several phases, echoes or repetitions" in line
    assert "EchoTime" in line
    assert "8 pairs" in line


def test_two_series_in_a_folder_are_refused_with_their_numbers(series):
    write_slice(
        series[0].parent / "x.dcm", voxels(5, 4), (0, 0, 0), 90, SeriesInstanceUID="1.2.99", SeriesNumber=8
    )
    line = refused(series[0].parent)
    assert "holds 2 series: CT series 3 (files: 8), CT series 8 (files: 1)" in line
    assert len(open_volumes(series[0].parent, each="file")) == 9


def test_another_size_direction_or_pixel_spacing_is_refused_as_a_localizer(series):
    folder, place = series[0].parent, (-12.5, -20.25, 120)
    for changes, pixels, said in (
        ({}, voxels(6, 4), "rows 6"),
        ({"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]}, voxels(5, 4), "another direction"),
        ({"PixelSpacing": ["0.8", "0.9"]}, voxels(5, 4), "two fields of view"),
        (
            {"PhotometricInterpretation": "MONOCHROME1"},
            voxels(5, 4),
            "photometric interpretation MONOCHROME1",
        ),
    ):
        extra = write_slice(folder / "zz.dcm", pixels, place, 60, **changes)
        line = refused(folder)
        assert said in line
        assert "zz.dcm" in line
        extra.unlink()


def test_uneven_and_sideways_slices_are_refused(tmp_path):
    for i, z in enumerate((0, 2, 4, 6.4, 8)):
        write_slice(tmp_path / "uneven" / f"{i}.dcm", voxels(5, 4), (0, 0, z), i)
    assert "unevenly spaced, from 1.60 to 2.40 mm" in refused(tmp_path / "uneven")
    for i, x in enumerate((0, 0, 7, 0, 0)):
        write_slice(tmp_path / "bent" / f"{i}.dcm", voxels(5, 4), (x, 0, 2 * i), i)
    assert "shifted sideways by 7.0 mm" in refused(tmp_path / "bent")


def test_slices_without_a_place_cannot_be_put_in_order(series):
    write_slice(series[0].parent / "zz.dcm", voxels(5, 4), (0, 0, 0), 60, ImagePositionPatient=None)
    assert "'zz.dcm' does not say where it lies" in refused(series[0].parent)


def test_damaged_directions_are_refused(tmp_path):
    write_slice(tmp_path / "x.dcm", voxels(5, 4), (0, 0, 0), ImageOrientationPatient=[1, 0, 0, 0.5, 0.5, 0])
    assert "not at right angles" in refused(tmp_path / "x.dcm")


def test_what_holds_no_image_is_named(tmp_path):
    for modality, said in (
        ("SR", "a structured report"),
        ("RTSTRUCT", "contours"),
        ("PR", "presentation state"),
    ):
        gone = dict.fromkeys(("Rows", "Columns", "PixelData"))
        write_slice(tmp_path / "x.dcm", voxels(5, 4), (0, 0, 0), Modality=modality, **gone)
        assert said in refused(tmp_path / "x.dcm")


def test_a_file_cut_short_is_refused(series):
    whole = series[0].read_bytes()
    series[0].write_bytes(whole[:-10])
    assert "cut short or damaged" in refused(series[0])
    series[0].write_bytes(whole[:200])
    assert "DICOM file" in refused(series[0])
    (series[0].parent / "note.dcm").write_bytes(b"hello")
    assert "DICOM file" in refused(series[0].parent / "note.dcm")


def test_a_compression_without_a_decoder_names_the_package(tmp_path):
    from pydicom.pixels import get_decoder
    from pydicom.uid import JPEGLSLossless

    if get_decoder(JPEGLSLossless).is_available:
        pytest.skip("a decoder of JPEG-LS is installed")
    path = write_slice(tmp_path / "x.dcm", voxels(5, 4), (0, 0, 0))
    content = pydicom.dcmread(path)
    content.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8\xff\xd9"])
    content["PixelData"].VR, content["PixelData"].is_undefined_length = "OB", True
    content.file_meta.TransferSyntaxUID = JPEGLSLossless
    content.save_as(path)
    line = refused(path)
    assert "JPEG-LS" in line
    assert "pyjpegls" in line


def test_several_segmented_structures_are_refused(tmp_path):
    segments = pydicom.sequence.Sequence([pydicom.Dataset(), pydicom.Dataset()])
    write_slice(tmp_path / "x.dcm", voxels(5, 4), (0, 0, 0), Modality="SEG", SegmentSequence=segments)
    assert "a segmentation of 2 structures" in refused(tmp_path / "x.dcm")


def test_a_4d_nifti_asks_for_a_volume_and_takes_one(tmp_path):
    numbers = voxels(4, 5, 6, 3)
    path = write_nifti(tmp_path / "a.nii.gz", numbers)
    line = refused(path)
    assert "4-D" in line
    assert "volume: 0" in line
    chosen = open_volumes(path, volume=2)[0]["value"]
    np.testing.assert_array_equal(chosen.values[0], numbers[..., 2].transpose(2, 1, 0))
    assert "write 0 to 2" in refused(path, volume=3)


def test_nan_complex_numbers_and_broken_geometry_are_refused(tmp_path):
    numbers = np.ones((4, 5, 6), np.float32)
    numbers[1, 2, 3] = np.nan
    path = write_nifti(tmp_path / "a.nii.gz", numbers)
    assert "1 voxels without a number" in refused(path)
    assert open_volumes(path, missing=7.0)[0]["value"].values[0, 3, 2, 1] == 7
    write_nifti(tmp_path / "b.nii.gz", np.ones((4, 5, 6), np.complex64))
    assert "magnitude" in refused(tmp_path / "b.nii.gz")
    image = nibabel.Nifti1Image(np.ones((4, 5, 6), np.float32), None)
    image.header.set_sform(np.diag([1.0, 1.0, 0.0, 1.0]), 1)
    nibabel.save(image, tmp_path / "c.nii.gz")
    assert "onto a plane" in refused(tmp_path / "c.nii.gz")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "a.nii.gz" in refused(path)


def test_empty_missing_and_foreign_paths_are_refused(tmp_path):
    assert "no file or folder" in refused(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    assert "it is empty" in refused(tmp_path / "empty")
    (tmp_path / "empty" / "a.txt").write_text("x")
    assert "1 other files" in refused(tmp_path / "empty")
    assert "neither NIfTI" in refused(tmp_path / "empty" / "a.txt")
    write_nifti(tmp_path / "x.nii", voxels(3, 4, 5))
    assert "did you mean" in refused(tmp_path / "x.nii", each="files")
    assert "must rise" in refused(tmp_path / "x.nii", part=(0.7, 0.3))
    assert "holds none" in refused(tmp_path / "x.nii", part=(0.0, 0.01))


def test_a_missing_library_is_named_with_how_to_install_it(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "perrin.kinds.volumes.needs.find_spec", lambda name: None if name == "pydicom" else found(name)
    )
    with pytest.raises(PerrinError, match=r"DICOM files need pydicom: pip install 'perrin\[medical\]'"):
        need("pydicom")
    need("nibabel")


def test_nothing_of_the_libraries_is_imported_by_the_kind_alone():
    import subprocess
    import sys

    code = (
        "import sys; import perrin.kinds.volumes as v; v.Volumes.codec; "
        "print([n for n in ('pydicom', 'nibabel') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_broken_cases_are_listed_or_left_out(tmp_path):
    for i in range(3):
        write_nifti(tmp_path / "cases" / f"{i}.nii.gz", voxels(3, 4, 5))
    (tmp_path / "cases" / "1.nii.gz").write_bytes(b"nothing")
    line = refused(tmp_path / "cases")
    assert "1 of 3 cases" in line
    assert "broken: skip" in line
    data = open_volumes(tmp_path / "cases", broken="skip")
    assert data.skipped == ["1.nii.gz"]
    assert [item["name"] for item in data] == ["0.nii.gz", "2.nii.gz"]


def test_folders_of_cases_are_classes_and_folders_of_patients_are_none(tmp_path):
    for name in ("ill/a", "ill/b", "well/c", "well/d"):
        write_series(tmp_path / "classes" / name, voxels(3, 5, 4))
    data = open_volumes(tmp_path / "classes")
    assert data.classes == ["ill", "well"]
    assert [(item["name"], item["label"]) for item in data][::3] == [("ill/a", 0), ("well/d", 1)]
    assert open_volumes(tmp_path / "classes", labels=False).classes is None
    for name in ("p1", "p2", "p3"):
        write_series(tmp_path / "patients" / name / "series", voxels(3, 5, 4))
    assert open_volumes(tmp_path / "patients").classes is None
    write_nifti(tmp_path / "classes" / "loose.nii.gz", voxels(3, 4, 5))
    assert "beside the sub-folders" in refused(tmp_path / "classes")


def test_all_scans_of_a_patient_stand_on_one_side_of_a_split(tmp_path):
    for i in range(12):
        write_series(tmp_path / "all" / f"{i:02d}", voxels(2, 5, 4, seed=i), PatientID=f"P{i % 4}")
    data = open_volumes(tmp_path / "all")
    train, test = data.split(0.25, seed=3)
    assert len(train) + len(test) == 12
    sides = [{int(item["name"]) % 4 for item in part} for part in (train, test)]
    assert not sides[0] & sides[1]
    assert test.description["split"]["by"] == "patients"


def test_a_single_case_is_split_by_its_height_and_part_takes_the_same_slices(tmp_path):
    numbers = voxels(4, 5, 9)
    path = write_nifti(tmp_path / "a.nii.gz", numbers, np.diag([1.0, 1.0, 2.0, 1.0]))
    whole = open_volumes(path)
    train, test = whole.split(3, seed=0)
    lower, upper = (open_volumes(path, part=part)[0]["value"] for part in ((0, 0.6667), (0.6667, 1)))
    for one, other, slices in ((train, lower, slice(0, 6)), (test, upper, slice(6, 9))):
        value = one[0]["value"]
        np.testing.assert_array_equal(value.values, other.values)
        np.testing.assert_array_equal(value.values[0, :, ::-1, ::-1], numbers.transpose(2, 1, 0)[slices])
        np.testing.assert_allclose(value.affine, other.affine)
    assert test[0]["value"].affine[2, 3] == 12.0  # millimetres to the head
    again, held = train.split(2, seed=0)
    assert (again[0]["value"].shape[1], held[0]["value"].shape[1]) == (4, 2)
    with pytest.raises(PerrinError, match="cannot hold out"):
        whole.split(9, seed=0)


def test_large_data_are_mapped_from_the_cache_and_are_the_same(tmp_path, monkeypatch):
    path = write_nifti(tmp_path / "a.nii.gz", voxels(4, 5, 6))
    held = open_volumes(path)
    monkeypatch.setattr("perrin.kinds.files.MEMORY_LIMIT", 0)
    mapped = open_volumes(path)
    assert isinstance(mapped[0]["value"].values, np.memmap)
    np.testing.assert_array_equal(mapped[0]["value"].values, held[0]["value"].values)
    assert mapped.description == held.description
