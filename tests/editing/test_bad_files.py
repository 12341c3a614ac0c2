"""What cannot be restored or edited is refused on the command line: exit code 2, and one line with what would be right."""

import importlib.util

import numpy as np
import pytest
from PIL import Image
from tests.editing.tiny import hole, picture, pictures, signals
from tests.model.making import make_model, point_model, text_model

from perrin.cli import entry
from perrin.kinds.arrays import Arrays
from perrin.kinds.volumes import Volumes
from perrin.kinds.volumes.scaling import Scale
from perrin.kinds.volumes.views import View


@pytest.fixture
def refuses(capsys):
    """Runs a command line that must fail with one line, and returns that line."""

    def run(*words):
        capsys.readouterr()
        code = entry.main([str(word) for word in words])
        lines = [
            one
            for one in capsys.readouterr().err.splitlines()
            if not one.startswith(("restoring: ", "editing: "))
        ]
        assert code == 2, lines
        assert len(lines) == 1
        assert lines[0].startswith("perrin: ")
        return lines[0]

    return run


@pytest.fixture
def model(tmp_path):
    return pictures(tmp_path)


@pytest.fixture
def image(tmp_path):
    picture(tmp_path / "a.png", 8, 8)
    return tmp_path / "a.png"


def restoring(refuses, *words):
    return refuses("restore", *words, "--samples", "2", "--steps", "2")


@pytest.mark.parametrize("verb", [("restore", "--task", "inpaint"), ("edit",)])
def test_masks_that_are_none(verb, refuses, model, image, tmp_path):
    mask = tmp_path / "m.png"

    def said():
        return refuses(verb[0], model, image, *verb[1:], "--mask", mask)

    assert "no mask" in said()
    hole(mask, 9, 8)
    assert "the mask 'm.png' is 8 x 9 and 'a.png' is 8 x 8" in said()
    Image.new("L", (8, 8), 0).save(mask)
    assert "black everywhere, so nothing is to be filled" in said()
    Image.new("L", (8, 8), 255).save(mask)
    assert "white everywhere, so nothing would be left" in said()
    Image.new("RGBA", (8, 8), (255, 255, 255, 0)).save(mask)
    assert "transparent in places" in said()
    mask.write_bytes(b"nothing")
    assert "is no picture that can be read" in said()


def test_a_task_without_what_it_needs_or_with_what_is_of_another(refuses, model, image):
    assert "needs --mask" in restoring(refuses, model, image, "--task", "inpaint")
    assert "did you mean 'inpaint'" in restoring(refuses, model, image, "--task", "inpant")
    line = restoring(refuses, model, image, "--task", "denoise", "--sigma", "5", "--std", "2")
    assert "option of the task denoise 'std' is not known" in line
    assert "did you mean 'pigdm'" in restoring(
        refuses, model, image, "--task", "denoise", "--sigma", "9", "--method", "pgdm"
    )


def test_operators_that_do_not_fit_the_state(refuses, model, image, tmp_path):
    assert "divide the spatial sizes" in restoring(
        refuses, model, image, "--task", "upscale", "--factor", "3"
    )
    line = restoring(refuses, model, image, "--task", "upscale", "--factor", "2")
    assert "'a.png' is 8 x 8 pixels; for this model of 8 x 8 the task takes pictures of 4 x 4" in line
    assert "does not fit states" in restoring(refuses, model, image, "--task", "deblur", "--std", "9")
    assert "weights for states" in restoring(refuses, model, image, "--task", "colour")
    np.save(tmp_path / "k.npy", np.ones((9, 8), complex))
    line = restoring(refuses, model, tmp_path / "k.npy", "--task", "mri")
    assert "has shape (9, 8); k-space for this model is complex, (8, 8)" in line
    np.save(tmp_path / "s.npy", np.ones((30, 11)))
    line = restoring(refuses, model, tmp_path / "s.npy", "--task", "ct", "--angles", "30")
    assert "shape (1, 30, 12) and was given" in line
    np.save(tmp_path / "a.npy", np.ones((7, 8)))
    assert "this model takes (1, 8, 8)" in restoring(
        refuses, model, tmp_path / "a.npy", "--task", "denoise", "--sigma", "9"
    )


def test_complex_numbers_for_a_real_task_and_real_ones_for_k_space(refuses, model, image, tmp_path):
    np.save(tmp_path / "k.npy", np.ones((8, 8), complex))
    line = restoring(refuses, model, tmp_path / "k.npy", "--task", "denoise", "--sigma", "9")
    assert "complex numbers, and this model and task are of real ones" in line
    np.save(tmp_path / "r.npy", np.ones((8, 8)))
    assert "k-space is complex" in restoring(refuses, model, tmp_path / "r.npy", "--task", "mri")
    assert "give .npy or .npz, or --simulate" in restoring(refuses, model, image, "--task", "mri")
    np.save(tmp_path / "coils.npy", np.ones((4, 8, 8), complex))
    line = restoring(refuses, model, tmp_path / "coils.npy", "--task", "mri")
    assert "of 4 coils the sensitivities are needed" in line


def test_a_noise_that_cannot_be_told_or_is_none(refuses, model, image, tmp_path):
    Image.new("L", (8, 8), 255).save(tmp_path / "white.png")
    line = restoring(refuses, model, tmp_path / "white.png", "--task", "denoise", "--sigma", "auto")
    assert "--sigma" in line
    hole(tmp_path / "m.png", 8, 8)
    words = ("--task", "inpaint", "--mask", tmp_path / "m.png", "--sigma", "auto")
    assert "cannot be told" in restoring(refuses, model, image, *words)
    assert "write a number, or auto" in restoring(
        refuses, model, image, "--task", "denoise", "--sigma", "much"
    )
    assert "must be 0 or above" in restoring(refuses, model, image, "--task", "denoise", "--sigma", "-3")
    assert "adds the noise itself" in restoring(refuses, model, image, "--task", "denoise", "--simulate")


def test_models_of_other_data(refuses, image, tmp_path):
    line = restoring(refuses, text_model().save(tmp_path / "text"), image, "--task", "denoise")
    assert "not of text" in line
    assert "not of text" not in restoring(
        refuses, point_model().save(tmp_path / "points"), image, "--task", "denoise"
    )
    codec = Arrays.codec((2,), None, 1.0, [0.0, 5.0], [1.0, 3.0])
    own = make_model({"name": "mlp", "width": 8, "blocks": 1}, codec, "arrays", guidance=1.0).save(
        tmp_path / "own"
    )
    np.save(tmp_path / "p.npy", np.ones(2))
    assert "a scale of its own" in restoring(
        refuses, own, tmp_path / "p.npy", "--task", "denoise", "--sigma", "1"
    )
    assert "perrin edit is for pictures" in refuses("edit", own, image, "--strength", "0.5")


def test_files_that_are_not_there_not_readable_or_not_for_the_model(refuses, model, tmp_path):
    assert "no file" in restoring(refuses, model, tmp_path / "gone.png", "--task", "denoise")
    (tmp_path / "broken.png").write_bytes(b"")
    assert "cannot read 'broken.png' as a picture: zero bytes" in restoring(
        refuses, model, tmp_path / "broken.png", "--task", "denoise"
    )
    np.savez(tmp_path / "x.npz", other=np.ones(3))
    assert "call the array to restore 'measurement'" in restoring(
        refuses, model, tmp_path / "x.npz", "--task", "mri"
    )
    np.save(tmp_path / "nan.npy", np.where(np.eye(8) > 0, np.nan, 3.0))
    line = restoring(refuses, model, tmp_path / "nan.npy", "--task", "denoise", "--sigma", "2")
    assert "misses 8 values (NaN); --task inpaint fills them" in line
    (tmp_path / "text.csv").write_text("1\n2\nthree\n")
    line = restoring(refuses, signals(tmp_path), tmp_path / "text.csv", "--task", "denoise")
    assert "holds text among its numbers" in line
    taken = tmp_path / "text.csv"
    line = restoring(refuses, model, tmp_path / "nan.npy", "--task", "inpaint", "--out", taken)
    assert "several files are written: give a folder" in line


def test_gaps_and_strengths_that_are_none(refuses, model, image, tmp_path):
    np.save(tmp_path / "s.npy", np.ones(16))
    model_of_signals = signals(tmp_path)
    for text in ("4", "4-6", "a:b"):
        line = restoring(refuses, model_of_signals, tmp_path / "s.npy", "--task", "gaps", "--gaps", text)
        assert "write start:stop in samples" in line
    line = restoring(refuses, model_of_signals, tmp_path / "s.npy", "--task", "gaps", "--gaps", "12:20")
    assert "does not lie in a signal of 16 samples" in line
    assert "--mask (white is repainted), or --strength" in refuses("edit", model, image)
    for value in ("0", "1.5"):
        assert "must lie above 0" in refuses("edit", model, image, "--strength", value)
    assert "class '12' is not known" in refuses("edit", model, image, "--strength", "0.5", "--label", "12")
    two = refuses(
        "edit",
        model,
        image,
        "--strength",
        "0.5",
        "--samples",
        "2",
        "--steps",
        "2",
        "--out",
        tmp_path / "x.png",
    )
    assert "2 edits do not fit into" in two


def test_scans_that_are_none(refuses, model, image, tmp_path):
    pytest.importorskip("nibabel")
    pytest.importorskip("pydicom")
    from tests.editing.tiny import scans
    from tests.kinds.scans import voxels, write_nifti, write_series, write_slice

    series = write_series(tmp_path / "series", voxels(6, 8, 8))
    trained = scans(tmp_path, series[0].parent)
    words = ("--task", "denoise", "--sigma", "9")
    series[2].unlink()
    assert "1 slice is missing" in restoring(refuses, trained, series[0].parent, *words)
    write_slice(series[2], voxels(8, 8), (0, 0, 0), 90, SeriesInstanceUID="1.2.99", SeriesNumber=8)
    assert "holds 2 series" in restoring(refuses, trained, series[0].parent, *words)
    four = write_nifti(tmp_path / "four.nii.gz", voxels(8, 8, 4, 3))
    line = restoring(refuses, trained, four, *words)
    assert "is 4-D: it holds 3 volumes of 8x8x4" in line
    words_of_one = [
        str(word) for word in ("restore", trained, four, *words, "--samples", "2", "--steps", "2")
    ]
    assert entry.main([*words_of_one, "--volume", "1", "--out", str(tmp_path / "second")]) == 0
    assert "has no units" in restoring(refuses, trained, image, *words)
    assert "scans are for models of volumes" in restoring(refuses, model, four, *words)
    assert "--simulate to have a clean scan measured" in restoring(
        refuses, trained, series[0], "--task", "mri"
    )


def test_missing_extras_are_named(refuses, model, tmp_path, monkeypatch):
    found = importlib.util.find_spec
    gone = ("soundfile", "nibabel")
    for module in ("perrin.editing.sound", "perrin.kinds.volumes.needs"):
        monkeypatch.setattr(f"{module}.find_spec", lambda name: None if name in gone else found(name))
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    line = restoring(refuses, signals(tmp_path), tmp_path / "a.wav", "--task", "gaps", "--gaps", "1:2")
    assert "pip install 'perrin[audio]'" in line
    codec = Volumes.codec((1, 8, 8), None, 1.0, Scale(0.0, 1.0, False), View("axial"), [1.0, 1.0, 1.0])
    net = {"name": "unet", "channels": 8, "multipliers": [1, 2], "blocks": 1}
    trained = make_model(net, codec, "volumes", guidance=1.0).save(tmp_path / "trained")
    (tmp_path / "a.nii.gz").write_bytes(b"")
    line = restoring(refuses, trained, tmp_path / "a.nii.gz", "--task", "denoise", "--sigma", "9")
    assert "pip install 'perrin[medical]'" in line
