"""`perrin restore` of scans: all slices, back where they lie in the body, without what names a patient."""

import numpy as np
import pytest

nibabel = pytest.importorskip("nibabel")
pydicom = pytest.importorskip("pydicom")

from tests.editing.tiny import hole, scans  # noqa: E402
from tests.kinds.scans import OBLIQUE, SECRETS, voxels, write_nifti, write_series  # noqa: E402

import perrin  # noqa: E402
from perrin.editing.opening import open_form  # noqa: E402
from perrin.editing.saving import save  # noqa: E402
from perrin.kinds.volumes import Volumes  # noqa: E402
from perrin.model import Model  # noqa: E402

FEW = {"samples": 2, "steps": 2}
STRAIGHT = np.diag([0.7, 0.8, 2.5, 1.0])


def volume(path):
    return Volumes.open(path)[0]["value"]


def centre(found):
    """Millimetres of the middle of the field of view."""
    return found.affine @ [*((np.array(found.stack.shape[1:]) - 1) / 2), 1]


@pytest.fixture
def nifti(tmp_path):
    return write_nifti(tmp_path / "head.nii.gz", voxels(4, 8, 8), OBLIQUE, secrets=True)


@pytest.fixture
def series(tmp_path):
    return write_series(tmp_path / "series", voxels(4, 8, 8))[0].parent


def test_what_a_model_gives_back_unchanged_is_the_scan_itself(nifti, tmp_path):
    """The way to states and back moves no voxel, of any orientation."""
    form = open_form(nifti, Model.load(scans(tmp_path, nifti)).codec)
    back, original = form.placed(form.values()), volume(nifti)
    np.testing.assert_allclose(back.values, original.values, atol=0.05)
    np.testing.assert_allclose(back.affine, original.affine, atol=1e-9)


def test_a_nifti_file_comes_back_in_its_own_geometry(nifti, tmp_path):
    found = perrin.restore(scans(tmp_path, nifti), nifti, "denoise", sigma=30.0, **FEW)
    save(found, tmp_path / "out")
    for name in ("mean", "std", "low", "high", "samples/000"):
        one = volume(tmp_path / "out" / f"{name}.nii.gz")
        assert one.shape == volume(nifti).shape
        np.testing.assert_allclose(one.affine, volume(nifti).affine, atol=1e-6)
    mean = volume(tmp_path / "out" / "mean.nii.gz")
    expected = found.restored.values(found.restored.state).mean(1)
    np.testing.assert_allclose(mean.values, found.form.placed(expected).values, rtol=1e-4, atol=1e-2)
    assert (volume(tmp_path / "out" / "std.nii.gz").values > 0).all()


def test_a_dicom_series_comes_back_as_one_in_its_own_geometry(series, tmp_path):
    found = perrin.restore(scans(tmp_path, series), series, "denoise", sigma=30.0, **FEW)
    save(found, tmp_path / "out")
    mean, original = volume(tmp_path / "out" / "mean"), volume(series)
    assert mean.shape == original.shape
    np.testing.assert_allclose(mean.affine, original.affine, atol=1e-6)
    assert mean.units == "HU"
    placed = found.form.placed(found.restored.values(found.restored.mean)).values
    assert np.abs(mean.values - placed).max() <= 0.51  # stored in whole numbers


def test_nothing_of_the_patient_or_the_file_is_written_and_what_was_removed_is_told(series, tmp_path):
    renamed = series.rename(tmp_path / "SUSPICIOUS^NAME")
    found = perrin.restore(scans(tmp_path, renamed), renamed, "denoise", sigma=30.0, **FEW)
    for file in save(found, tmp_path / "out"):
        held = file.read_bytes()
        for secret in (*SECRETS, str(tmp_path), "IM00"):
            assert secret.encode() not in held, (file, secret)
    assert "PatientName" in found.form.stripped()["removed"]
    assert "PatientName" in (tmp_path / "out" / "restore.json").read_text()


@pytest.mark.parametrize(("affine", "order"), [(STRAIGHT, (0, 1, 2)), (OBLIQUE, (2, 0, 1))])
def test_slices_of_another_size_come_back_at_the_same_place_in_larger_voxels(affine, order, tmp_path):
    numbers = np.zeros((16, 24, 5), np.int16)
    numbers[4:8, 12:16, 1:4] = 1000
    path = write_nifti(tmp_path / "head.nii.gz", numbers.transpose(order), affine)
    form = open_form(path, Model.load(scans(tmp_path, path, size=8)).codec)
    original, back = volume(path), form.placed(form.values())
    assert back.orientation == original.orientation
    assert sorted(back.stack.shape[1:]) == [5, 8, 8]
    np.testing.assert_allclose(centre(back), centre(original), atol=1e-6)
    heavy = [one.affine @ [*(np.argwhere(one.values[0] > 500).mean(0)), 1] for one in (original, back)]
    np.testing.assert_allclose(heavy[1], heavy[0], atol=0.3)
    assert "resampled to the model's 8 x 8" in form.notes[0]


def test_a_mask_holds_for_every_slice(nifti, tmp_path):
    white = hole(tmp_path / "m.png", 8, 8)
    form = open_form(nifti, Model.load(scans(tmp_path, nifti)).codec)
    found = perrin.restore(tmp_path / "scans", nifti, "inpaint", mask=tmp_path / "m.png", **FEW)
    assert form.size == (8, 8)
    assert found.restored.problem.seen[0, 0].numpy().tolist() == (~white).tolist()
    assert found.restored.problem.measurement.shape == (4, 1, 8, 8)


def test_slices_with_neighbours_and_whole_volumes(nifti, tmp_path):
    for options in ({"axis": "axial", "neighbours": 1}, {"axis": None, "patch": (2, 8, 8)}):
        form = open_form(nifti, Model.load(scans(tmp_path, nifti, **options)).codec)
        np.testing.assert_allclose(form.placed(form.values()).values, volume(nifti).values, atol=0.05)


def test_a_simulated_tomography_of_every_slice(nifti, tmp_path):
    found = perrin.restore(scans(tmp_path, nifti), nifti, "ct", angles=10, sigma=5.0, simulate=True, **FEW)
    assert found.measurement.shape[:3] == (4, 1, 10)
    assert set(found.psnr) == {"filtered back-projection", "mean", "sample"}
