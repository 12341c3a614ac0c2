"""`perrin restore` of pictures and arrays: what is measured, what is written, and that a file can be made again."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from tests.editing.tiny import colours, hole, larger, picture, pictures, signals

import perrin
from perrin.cli import entry
from perrin.editing.plain import plain
from perrin.editing.saving import save
from perrin.errors import PerrinError
from perrin.guide.operators import Radon
from perrin.kinds.provenance import read_provenance
from perrin.restoration.problem import Problem

FEW = {"samples": 3, "steps": 3}


@pytest.fixture
def model(tmp_path):
    return pictures(tmp_path)


def restored(*words):
    assert entry.main(["restore", *map(str, words), "--samples", "3", "--steps", "3"]) == 0


def test_white_of_a_mask_is_what_is_not_known(model, tmp_path):
    pixels, white = picture(tmp_path / "a.png", 8, 8), hole(tmp_path / "m.png", 8, 8)
    found = perrin.restore(model, tmp_path / "a.png", "inpaint", mask=tmp_path / "m.png", **FEW)
    assert found.restored.problem.seen[0, 0].numpy().tolist() == (~white).tolist()
    states = found.restored.problem.measurement[0, 0].numpy()
    np.testing.assert_allclose(states[~white], pixels[~white] / 127.5 - 1, rtol=0, atol=1e-12)
    assert not states[white].any()


def test_a_mask_of_bools_is_the_same_mask(model, tmp_path):
    picture(tmp_path / "a.png", 8, 8)
    np.save(tmp_path / "m.npy", hole(tmp_path / "m.png", 8, 8))
    one, other = (
        perrin.restore(model, tmp_path / "a.png", "inpaint", mask=tmp_path / name, **FEW).restored.state
        for name in ("m.png", "m.npy")
    )
    assert one.equal(other)


def test_a_large_picture_is_framed_as_training_images_are_and_its_mask_with_it(model, tmp_path):
    picture(tmp_path / "a.png", 24, 40)
    white = hole(
        tmp_path / "m.png", 24, 40, box=(3, 14, 4, 15)
    )  # one pixel: of the 3 x 3 that make one of the model's
    with pytest.warns(UserWarning, match="40 x 24 pixels .* 8 x 8: cropped to the middle and reduced"):
        found = perrin.restore(model, tmp_path / "a.png", "inpaint", mask=tmp_path / "m.png", **FEW)
    unknown = ~found.restored.problem.seen[0, 0].numpy()
    assert white.sum() == 1
    assert np.argwhere(unknown).tolist() == [[1, 2]]  # (3 - 0) / 3 down, (14 - 8) / 3 across


def test_a_folder_holds_the_mean_its_spread_and_every_sample(model, tmp_path, capsys):
    picture(tmp_path / "a.png", 8, 8)
    out = tmp_path / "out"
    restored(model, tmp_path / "a.png", "--task", "denoise", "--sigma", "20", "--out", out)
    assert "of the noise (1 explains the measurement)" in capsys.readouterr().out
    raw = np.load(out / "samples.npz")
    samples = raw["samples"][0, :, 0].astype(float)
    mean = np.asarray(Image.open(out / "mean.png"))
    assert np.abs(mean - samples.mean(0).clip(0, 255)).max() <= 0.5 + 1e-4
    np.testing.assert_allclose(np.load(out / "std.npy")[0], samples.std(0, ddof=1), rtol=1e-4)
    for k in range(3):
        one = np.asarray(Image.open(out / "samples" / f"{k:03d}.png"))
        assert np.abs(one - samples[k].clip(0, 255)).max() <= 0.5 + 1e-4
    low, high = (np.asarray(Image.open(out / f"{name}.png")).astype(int) for name in ("low", "high"))
    assert (low <= mean).all()
    assert (mean <= high).all()
    for name in ("overview.png", "std.png"):
        assert Image.open(out / name).width > 100
    said = json.loads((out / "restore.json").read_text())
    assert said["task"] == "denoise"
    assert said["sigma"] == pytest.approx(20)
    assert said["evaluations_per_sample"] == 3
    assert said["residual_over_noise"] > 0


def test_nothing_that_is_written_names_the_given_file_or_its_folder(model, tmp_path):
    place = tmp_path / "SUSPICIOUS^NAME"
    place.mkdir()
    picture(place / "PID-4711.png", 16, 16)
    hole(place / "hole-4711.png", 16, 16)
    with pytest.warns(UserWarning, match="16 x 16"):
        found = perrin.restore(model, place / "PID-4711.png", "inpaint", mask=place / "hole-4711.png", **FEW)
    for file in save(found, tmp_path / "out"):
        said = file.read_text() if file.suffix == ".json" else json.dumps(provenance_of(file))
        assert "4711" not in said
        assert "SUSPICIOUS" not in said


def provenance_of(file):
    return read_provenance(file) if file.suffix in (".png", ".npz", ".npy") else {}


def test_a_sigma_of_auto_is_estimated_told_and_used(tmp_path, capsys):
    noise = np.random.default_rng(0).normal(0, 12, (24, 24))
    noisy = np.clip(np.rint(np.linspace(80, 170, 24) + noise), 0, 255).astype(np.uint8)
    Image.fromarray(noisy).save(tmp_path / "a.png")
    restored(larger(tmp_path), tmp_path / "a.png", "--task", "denoise", "--out", tmp_path / "out")
    said = json.loads((tmp_path / "out" / "restore.json").read_text())
    assert said["sigma_estimated"]
    assert said["sigma"] == pytest.approx(12, rel=0.3)
    assert said["noise"] == pytest.approx(said["sigma"] / 127.5)
    assert f"estimated standard deviation {said['sigma']:.3g}" in capsys.readouterr().out


def test_a_simulation_measures_a_clean_picture_with_the_noise_that_is_asked_for(model, tmp_path, capsys):
    pixels = picture(tmp_path / "a.png", 8, 8)
    found = perrin.restore(model, tmp_path / "a.png", "denoise", sigma=30.0, simulate=True, **FEW)
    assert found.truth[0, 0].numpy().tolist() == pixels.tolist()
    noise = (found.measurement - found.truth).numpy()
    assert noise.std() == pytest.approx(30, rel=0.3)
    expected = 10 * np.log10(255**2 / (noise**2).mean())
    assert found.psnr["damaged"] == pytest.approx(expected, abs=1e-6)
    error = found.restored.values(found.restored.mean) - found.truth
    assert found.psnr["mean"] == pytest.approx(10 * np.log10(255**2 / float((error**2).mean())), abs=1e-6)
    restored(
        model, tmp_path / "a.png", "--task", "upscale", "--factor", "2", "--simulate", "--out", tmp_path / "o"
    )
    assert "PSNR: bicubic" in capsys.readouterr().out


def test_k_space_of_an_array_tells_its_own_mask(model, tmp_path):
    pixels = picture(tmp_path / "a.png", 8, 8).astype(float)
    full = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(pixels), norm="ortho"))
    columns = np.array([1, 0, 1, 1, 1, 1, 0, 1], bool)
    np.save(tmp_path / "k.npy", full * columns)
    found = perrin.restore(model, tmp_path / "k.npy", "mri", **FEW)
    assert found.restored.problem.operator.mask.numpy().tolist() == [columns.tolist()] * 8
    zero_filled = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(full * columns), norm="ortho")).real
    np.testing.assert_allclose(found.damaged[0, 0].numpy(), zero_filled, atol=1e-6)
    assert found.damaged_name == "zero-filled"


def test_k_space_of_several_coils_with_their_sensitivities(model, tmp_path):
    pixels = picture(tmp_path / "a.png", 8, 8).astype(float)
    rng = np.random.default_rng(1)
    coils = rng.normal(size=(2, 8, 8)) + 1j * rng.normal(size=(2, 8, 8))
    seen = coils * pixels
    full = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(seen, (-2, -1)), norm="ortho"), (-2, -1))
    np.savez(tmp_path / "k.npz", kspace=full, coils=coils)
    found = perrin.restore(model, tmp_path / "k.npz", "mri", **FEW)
    np.testing.assert_allclose(found.damaged[0, 0].numpy(), pixels, atol=1e-2)  # all was measured


def test_a_small_picture_must_be_of_the_right_size_and_a_grey_one_gets_colours(tmp_path):
    model = colours(tmp_path)
    picture(tmp_path / "small.png", 4, 4, colour=True)
    found = perrin.restore(model, tmp_path / "small.png", "upscale", factor=2, **FEW)
    assert found.measurement.shape == (1, 3, 4, 4)
    pixels = picture(tmp_path / "grey.png", 8, 8)
    found = perrin.restore(model, tmp_path / "grey.png", "colour", **FEW)
    assert found.measurement[0, 0].numpy().tolist() == pixels.tolist()
    np.testing.assert_allclose(found.damaged[0].mean(0).numpy(), pixels, atol=1e-9)


def test_missing_numbers_of_a_signal_are_its_gaps(tmp_path):
    model = signals(tmp_path)
    values = np.random.default_rng(0).normal(1, 2, 16)
    values[4:7] = np.nan
    np.save(tmp_path / "a.npy", values)
    np.savetxt(tmp_path / "a.csv", values[:, None], header="pressure", comments="")
    written = np.nan_to_num(values)
    np.save(tmp_path / "b.npy", written)
    ways = (("a.npy", {}), ("a.csv", {}), ("b.npy", {"gaps": "4:7"}))
    found = [perrin.restore(model, tmp_path / name, "gaps", **said, **FEW) for name, said in ways]
    for one in found:
        assert one.restored.problem.seen[0, 0].numpy().tolist() == (~np.isnan(values)).tolist()
        np.testing.assert_allclose(one.restored.state, found[0].restored.state, atol=1e-5)
    save(found[1], tmp_path / "out")
    assert np.loadtxt(tmp_path / "out" / "mean.csv").shape == (16,)
    assert Image.open(tmp_path / "out" / "overview.png").width > 100


def test_a_recording_comes_back_as_a_recording(tmp_path):
    soundfile = pytest.importorskip("soundfile")
    model = signals(tmp_path)
    samples = 0.5 * np.sin(np.arange(16))
    soundfile.write(tmp_path / "a.wav", samples, 8000)
    found = perrin.restore(model, tmp_path / "a.wav", "gaps", gaps="2:4,8:10", **FEW)
    save(found, tmp_path / "out")
    back, rate = soundfile.read(tmp_path / "out" / "mean.wav")
    assert rate == 8000
    assert back.shape == (16,)


def test_filtered_back_projection_finds_a_disc():
    shape = (1, 32, 32)
    row, column = torch.meshgrid(torch.arange(32) - 16, torch.arange(32) - 14, indexing="ij")
    disc = torch.where(row**2 + column**2 < 64, 0.6, -1.0)[None, None].double()
    operator = Radon(shape, [i * 3.0 for i in range(60)])
    problem = Problem(operator, operator(disc), 0.0, torch.ones(1, 1, 60, operator.rays, dtype=torch.bool))
    found = plain(problem)[0, 0]
    inside = row**2 + column**2 < 36
    assert float(found[inside].mean()) == pytest.approx(0.6, abs=0.03)
    assert float(found[(row**2 + column**2) > 110].mean()) == pytest.approx(-1, abs=0.03)


def test_samples_are_made_again_to_the_bit_and_other_files_say_where_they_lie(model, tmp_path, capsys):
    picture(tmp_path / "a.png", 8, 8)
    hole(tmp_path / "m.png", 8, 8)
    out = tmp_path / "out"
    restored(
        model,
        tmp_path / "a.png",
        "--task",
        "inpaint",
        "--mask",
        tmp_path / "m.png",
        "--label",
        "3",
        "--out",
        out,
    )
    assert entry.main(["repro", str(out / "samples.npz")]) == 0
    assert "made again, identical" in capsys.readouterr().out
    assert entry.main(["repro", str(out / "mean.png")]) == 2
    assert "samples.npz" in capsys.readouterr().err
    held = dict(np.load(out / "samples.npz"))
    held["samples"][0, 0] += 100
    np.savez_compressed(out / "samples.npz", **held)
    assert entry.main(["repro", str(out / "samples.npz")]) == 2
    assert "is not what its own description gives" in capsys.readouterr().err


def test_a_batch_of_arrays_is_restored_item_by_item_as_each_alone(model, tmp_path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "two.npy", rng.uniform(0, 255, (2, 8, 8)))
    np.save(tmp_path / "one.npy", np.load(tmp_path / "two.npy")[0])
    two, one = (
        perrin.restore(model, tmp_path / f"{n}.npy", "denoise", sigma=9.0, **FEW) for n in ("two", "one")
    )
    assert two.restored.state.shape == (2, 3, 1, 8, 8)
    np.testing.assert_allclose(two.restored.state[0], one.restored.state[0], rtol=1e-3, atol=1e-2)


def test_a_long_signal_is_restored_in_windows_and_comes_back_whole(tmp_path):
    model = signals(tmp_path)
    values = np.random.default_rng(0).normal(1, 2, 45)
    np.save(tmp_path / "a.npy", values)
    found = perrin.restore(model, tmp_path / "a.npy", "denoise", sigma=0.5, **FEW)
    assert found.restored.state.shape[0] > 3
    np.testing.assert_allclose(found.form.joined("mean", found.form.values())[0], values, atol=1e-9)
    save(found, tmp_path / "out")
    assert np.load(tmp_path / "out" / "mean.npy").shape == (1, 45)


def test_gaps_of_a_long_signal_are_filled_and_nothing_else_changes(tmp_path):
    model = signals(tmp_path)
    values = np.random.default_rng(0).normal(1, 2, 45)
    np.save(tmp_path / "a.npy", values)
    found = perrin.restore(model, tmp_path / "a.npy", "gaps", gaps="20:23,27:29", **FEW)
    save(found, tmp_path / "out")
    filled, std = (np.load(tmp_path / "out" / f"{name}.npy")[0] for name in ("mean", "std"))
    gap = np.zeros(45, bool)
    gap[20:23] = gap[27:29] = True
    np.testing.assert_array_equal(filled[~gap], values[~gap].astype(np.float32))
    assert (std[gap] > 0).all()
    assert not std[~gap].any()
    with pytest.raises(PerrinError, match="reach from 2 to 40"):
        perrin.restore(model, tmp_path / "a.npy", "gaps", gaps="2:3,39:40", **FEW)


def test_a_signal_in_other_units_is_restored_as_in_the_models_own_and_comes_back_in_its_own(tmp_path):
    model = signals(tmp_path)
    values = np.random.default_rng(0).normal(0, 2, 16)
    np.save(tmp_path / "a.npy", values)
    np.save(tmp_path / "b.npy", values / 50)
    one = perrin.restore(model, tmp_path / "a.npy", "declip", limit=1.5, sigma=0.1, **FEW)
    other = perrin.restore(model, tmp_path / "b.npy", "declip", limit=0.03, sigma=0.002, scale=50, **FEW)
    np.testing.assert_allclose(other.restored.state, one.restored.state, atol=1e-4)
    assert other.about["sigma"] == pytest.approx(0.002)
    for name, found in (("a", one), ("b", other)):
        save(found, tmp_path / name)
    for kind in ("mean", "std", "high"):
        ours, theirs = (np.load(tmp_path / name / f"{kind}.npy") for name in "ab")
        np.testing.assert_allclose(theirs, ours / 50, rtol=1e-4, atol=1e-6)
    with pytest.warns(UserWarning, match="is taken times"):
        found = perrin.restore(model, tmp_path / "b.npy", "denoise", sigma=0.002, scale="auto", **FEW)
    assert float(found.form.array.std()) == pytest.approx(2.0, rel=1e-6)  # of the model's data
