"""`perrin edit`: outside the mask nothing changes, at any size; strength names where along the plan an edit begins."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.editing.tiny import colours, hole, picture, pictures

import perrin
from perrin.cli import entry
from perrin.denoise import exact
from perrin.errors import PerrinError
from perrin.kinds.images.gallery import save_png
from perrin.kinds.provenance import read_provenance
from perrin.process import levels
from perrin.restoration.strength import starting
from perrin.sample import make_plan, rules, run

FEW = {"samples": 2, "steps": 3}


@pytest.mark.parametrize(
    ("size", "colour", "box"),
    [
        ((8, 8), False, (2, 2, 5, 6)),
        ((24, 40), False, (3, 10, 15, 25)),
        ((33, 29), True, (10, 4, 22, 21)),
        ((6, 5), False, (2, 1, 4, 3)),
    ],
)
@pytest.mark.filterwarnings("ignore:.*as coarse as that")
def test_outside_the_mask_no_pixel_changes_and_inside_it_does(size, colour, box, tmp_path):
    model = (colours if colour else pictures)(tmp_path)
    pixels = picture(tmp_path / "a.png", *size, colour=colour)
    white = hole(tmp_path / "m.png", *size, box=box)
    found = perrin.edit(model, tmp_path / "a.png", mask=tmp_path / "m.png", **FEW)
    for k, file in enumerate(found.save(tmp_path / "out")[:2]):
        saved = np.asarray(Image.open(file)).astype(int)
        assert saved.shape == pixels.shape
        assert not (saved != pixels)[~white].any()
        assert (saved != pixels)[white].mean() > 0.5
        assert (saved == found.pictures[k]).all()
    assert found.change_outside == 0


def test_a_colour_picture_stays_so_under_a_grey_model(tmp_path):
    pixels = picture(tmp_path / "a.png", 8, 8, colour=True)
    white = hole(tmp_path / "m.png", 8, 8)
    found = perrin.edit(pictures(tmp_path), tmp_path / "a.png", mask=tmp_path / "m.png", **FEW)
    assert found.pictures[0].shape == (8, 8, 3)
    assert (found.pictures[0] == pixels)[~white].all()


def test_what_is_repainted_lies_where_the_mask_is(tmp_path):
    """A model that answers with the clean picture gives back what it was shown, in place."""
    rows, columns = np.mgrid[0:32, 0:48]
    smooth = (40 + 3 * rows + 2 * columns).astype(np.uint8)
    from perrin.kinds.images.framing import frame
    from perrin.kinds.images.pasting import pasted

    white = np.zeros((32, 48), bool)
    white[8:20, 15:30] = True
    found = pasted(smooth, frame(smooth, (8, 8)), white)
    assert np.abs(found.astype(int) - smooth).max() <= 2


def test_a_mask_beyond_what_the_model_sees_is_refused_with_it(tmp_path):
    picture(tmp_path / "a.png", 24, 40)
    hole(tmp_path / "m.png", 24, 40, box=(3, 2, 15, 20))
    with pytest.raises(PerrinError, match=r"the middle 24 x 24, from \(8, 0\)"):
        perrin.edit(pictures(tmp_path), tmp_path / "a.png", mask=tmp_path / "m.png", **FEW)


def test_a_small_strength_keeps_more_of_the_picture(tmp_path):
    model, pixels = pictures(tmp_path), picture(tmp_path / "a.png", 8, 8)
    apart = []
    for strength in (0.1, 0.5, 1.0):
        found = perrin.edit(model, tmp_path / "a.png", strength=strength, samples=4, steps=10)
        apart.append(np.mean([np.abs(one.astype(float) - pixels).mean() for one in found.pictures]))
    assert apart[0] < apart[1] < apart[2]


@pytest.mark.parametrize(
    "name", sorted({"ddim", "heun", "dpmpp_2m", "dpmpp_3m", "unipc_2", "deis_3", "ab_3"} & set(rules))
)
def test_an_edit_is_a_fresh_run_on_the_rest_of_the_grid(name):
    """Trap: history of rows that were never run. From a grid's own level the run is that of the sub-grid, to the bit."""
    grid = torch.linspace(-6, 8, 11, dtype=torch.float64).tolist()
    plan = make_plan(name, grid=[*grid, torch.inf])
    part = starting(plan, 6 / 11)
    fresh = make_plan(name, grid=[*grid[5:], torch.inf])
    start = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    denoiser = exact.Gaussian(1.5, 0.3)
    one, other = (run(p, denoiser, seeds=range(3), start=start) for p in (part, fresh))
    assert part.levels[0] == grid[5]
    assert one.equal(other)


def test_a_strength_between_two_levels_begins_between_them_and_does_not_move_with_the_steps():
    begun = [
        starting(make_plan("ddim", grid=[*np.linspace(-6, 8, n).tolist(), np.inf]), 0.5).levels[0]
        for n in (200, 400)
    ]
    assert begun[0] == pytest.approx(1.0, abs=0.1)
    assert begun[0] == pytest.approx(begun[1], abs=0.05)
    coarse = make_plan("ddim", grid=[-6.0, 0.0, 8.0, np.inf])
    assert starting(coarse, 0.5).levels[0] == pytest.approx(4.0)
    assert starting(coarse, 0.01).levels[0] == 8.0
    assert starting(coarse, 1.0) is coarse


def test_a_faint_edit_of_gaussian_data_has_the_law_of_the_noised_picture(tmp_path):
    """Denoised by the exact posterior sampler, a noised point has the posterior's mean and spread."""
    prior, plan = (
        exact.Gaussian(0.0, 1.0),
        make_plan("ddpm", grid=[*np.linspace(-8, 10, 200).tolist(), np.inf]),
    )
    part = starting(plan, 0.5)
    level = torch.tensor(part.levels[0], dtype=torch.float64)
    alpha, sigma = float(levels.alpha(level)), float(levels.sigma(level))
    noise = torch.randn(4000, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = run(part, prior, seeds=range(4000), start=alpha * 1.7 + sigma * noise)
    assert float(found.mean()) == pytest.approx(alpha**2 * 1.7, abs=0.05)
    assert float(found.var()) == pytest.approx(alpha**2 * sigma**2 + sigma**2, rel=0.08)


def test_the_command_line_writes_edits_that_say_how_they_were_made(tmp_path, capsys):
    model = pictures(tmp_path)
    picture(tmp_path / "a.png", 8, 8)
    hole(tmp_path / "m.png", 8, 8)
    words = ["edit", str(model), str(tmp_path / "a.png"), "--mask", str(tmp_path / "m.png"), "--label", "7"]
    words += ["--samples", "1", "--steps", "3", "--out", str(tmp_path / "seven.png"), "--json"]
    assert entry.main(words) == 0
    assert '"largest_change_outside_the_mask": 0' in capsys.readouterr().out
    said = read_provenance(tmp_path / "seven.png")
    assert said["made_by"] == "edit"
    assert said["class"] == "7"
    assert said["repainted"] == pytest.approx(12 / 64)
    assert said["image"]["file"] == str(tmp_path / "a.png")
    assert Path(said["mask"]["file"]).name == "m.png"
    assert said["folder"] == str(model)


@pytest.mark.parametrize(
    "told", [{"label": "7", "mask": True}, {"strength": 0.5, "guidance": 2.0, "label": "3"}]
)
@pytest.mark.filterwarnings("ignore:.*its edits have the model's 8 x 8")
def test_edits_of_a_folder_are_made_again_to_the_bit_each(told, tmp_path, capsys):
    model = pictures(tmp_path)
    picture(tmp_path / "a.png", 19, 12, colour=True)
    hole(tmp_path / "m.png", 19, 12, box=(5, 2, 12, 9))
    told = {**told, **({"mask": tmp_path / "m.png"} if "mask" in told else {})}
    found = perrin.edit(
        model, tmp_path / "a.png", samples=3, steps=3, seed=5, batch=2, solver="dpmpp_2m_sde", **told
    )
    files = found.save(tmp_path / "out")
    for file in files[:3]:
        assert entry.main(["repro", str(file), "--out", str(tmp_path / "again.png"), "--json"]) == 0
        assert '"identical": true' in capsys.readouterr().out
        assert (tmp_path / "again.png").read_bytes() == file.read_bytes()
    assert entry.main(["repro", str(files[3])]) == 2
    assert "a sheet of edits; perrin repro makes the single ones again" in capsys.readouterr().err


def test_an_edit_is_not_made_again_from_another_picture_or_mask(tmp_path, capsys):
    model = pictures(tmp_path)
    for name in ("a.png", "m.png"):
        picture(tmp_path / "a.png", 8, 8)
        hole(tmp_path / "m.png", 8, 8)
        out = perrin.edit(model, tmp_path / "a.png", mask=tmp_path / "m.png", samples=1, steps=2).save(
            tmp_path / "o.png"
        )
        if name == "a.png":
            picture(tmp_path / name, 8, 8, seed=1)
        else:
            hole(tmp_path / name, 8, 8, box=(2, 2, 5, 5))
        assert entry.main(["repro", str(out[0])]) == 2
        said = capsys.readouterr().err
        assert f"{name} is no longer the {'image' if name == 'a.png' else 'mask'} that" in said
        assert len(said.strip().splitlines()) == 1
        (tmp_path / name).unlink()
        assert entry.main(["repro", str(out[0])]) == 2
        assert f"{name}, which is gone: put it back" in capsys.readouterr().err


def test_an_edit_whose_pixels_were_changed_is_found_out(tmp_path, capsys):
    model = pictures(tmp_path)
    picture(tmp_path / "a.png", 8, 8)
    out = perrin.edit(model, tmp_path / "a.png", strength=0.5, samples=1, steps=2).save(tmp_path / "o.png")[0]
    pixels = np.asarray(Image.open(out)).copy()
    pixels[3, 3] ^= 64
    save_png(Image.fromarray(pixels), out, read_provenance(out))
    assert entry.main(["repro", str(out)]) == 2
    assert "is not what its own description gives" in capsys.readouterr().err


def test_an_edit_of_pixels_in_python_cannot_be_made_again(tmp_path, capsys):
    model = perrin.load(pictures(tmp_path))
    image = picture(tmp_path / "a.png", 8, 8)
    model.edit(image, strength=0.5, samples=1, steps=2).save(tmp_path / "o.png")
    assert entry.main(["repro", str(tmp_path / "o.png"), "--model", str(tmp_path / "pictures")]) == 2
    assert "edited in Python from pixels that are in no file" in capsys.readouterr().err


def test_what_is_for_pretrained_folders_is_refused_by_name(tmp_path):
    picture(tmp_path / "a.png", 8, 8)
    with pytest.raises(PerrinError, match="--true-guidance is for pretrained folders"):
        perrin.edit(pictures(tmp_path), tmp_path / "a.png", strength=0.5, true_guidance=2.0)


def test_an_edit_alone_is_the_same_as_among_others(tmp_path):
    model = perrin.load(pictures(tmp_path))
    image = picture(tmp_path / "a.png", 8, 8)
    mask = hole(tmp_path / "m.png", 8, 8)
    three = model.edit(image, mask=mask, label="2", samples=3, steps=3).state
    alone = model.edit(image, mask=mask, label="2", samples=1, steps=3).state
    torch.testing.assert_close(three[:1], alone, atol=1e-4, rtol=0)
