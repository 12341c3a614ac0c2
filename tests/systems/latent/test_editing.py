"""Photos of any size edited by latent models: outside the mask no pixel changes, and files are made again."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from tests.editing.tiny import hole, picture

import perrin
from perrin.cli import entry
from perrin.errors import PerrinError
from perrin.kinds.images.pasting import pasted
from perrin.kinds.provenance import read_provenance
from perrin.systems.latent.viewing import viewed

FEW = {"samples": 2, "steps": 2}
SD = {"prompt": "a cat"}


@pytest.mark.parametrize(
    ("name", "told", "size", "colour", "box"),
    [
        ("stable_diffusion", SD, (16, 16), True, (4, 4, 10, 12)),
        ("stable_diffusion", SD, (57, 91), True, (30, 70, 43, 90)),
        ("stable_diffusion", SD, (57, 91), False, (30, 1, 43, 90)),
        ("stable_diffusion", SD, (7, 5), True, (2, 1, 5, 3)),
        ("stable_diffusion", SD, (9, 120), False, (3, 2, 6, 117)),
        (
            "stable_diffusion_xl",
            {**SD, "negative": "blurry", "guidance": 3.0},
            (31, 22),
            True,
            (10, 4, 22, 21),
        ),
        ("stable_diffusion_3", SD, (23, 40), True, (0, 0, 11, 30)),
        (
            "stable_diffusion_3",
            SD,
            (9, 120),
            True,
            (3, 2, 6, 117),
        ),  # which knows positions of 32 pixels alone
        ("flux", SD, (33, 21), True, (20, 4, 33, 20)),
        ("inpainting", SD, (40, 27), True, (3, 2, 15, 20)),
        ("inpainting_xl", SD, (19, 19), False, (3, 2, 15, 18)),
        ("dit", {"label": 7, "guidance": 2.0}, (29, 18), True, (3, 2, 15, 16)),
        ("dit", {"label": 7}, (29, 18), False, (3, 2, 27, 7)),
        ("pixart", SD, (18, 37), True, (3, 2, 15, 18)),
        ("deepfloyd", SD, (18, 13), True, (3, 2, 9, 10)),
        ("stable_unclip", SD, (18, 13), True, (3, 2, 9, 10)),
        ("ddpm", {}, (11, 13), True, (3, 2, 7, 8)),
    ],
)
@pytest.mark.filterwarnings("ignore:.*as coarse as that")
def test_outside_the_mask_no_pixel_changes_and_inside_it_does(saved, tmp_path, name, told, size, colour, box):
    pixels = picture(tmp_path / "a.png", *size, colour=colour)
    white = hole(tmp_path / "m.png", *size, box=box)
    found = perrin.edit(
        perrin.load(saved(name)[1]), tmp_path / "a.png", mask=tmp_path / "m.png", **FEW, **told
    )
    for file, one in zip(found.save(tmp_path / "out")[:2], found.pictures, strict=True):
        kept = np.asarray(Image.open(file)).astype(int)
        assert (kept == one).all()
        assert kept.shape == pixels.shape
        assert not (kept != pixels)[~white].any()
        assert (kept != pixels)[white].mean() > 0.5
    assert found.change_outside == 0
    assert (found.pictures[0] != found.pictures[1]).any()


def test_in_python_the_decoded_pixels_are_the_photos_outside_the_mask(saved):
    model = perrin.load(saved("stable_diffusion")[1])
    photo = np.random.default_rng(0).integers(0, 256, (33, 50, 3), np.uint8)
    white = np.zeros((33, 50), bool)
    white[10:20, 30:45] = True
    found = model.edit(photo, mask=white, **SD, **FEW)
    assert all((one[~white] == photo[~white]).all() for one in found.decoded)
    assert all((one[white] != photo[white]).mean() > 0.5 for one in found.decoded)
    drawn = found.codec.decode(found.state)[0]
    assert drawn.shape == (16, 16, 3)  # of a window of 30 x 30 about the mask, not of the whole
    assert found.provenance[0]["view"] == [20, 0, 50, 30]


def test_what_is_drawn_is_a_sample_of_what_the_model_sees(saved):
    model = perrin.load(saved("stable_diffusion")[1])
    photo = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    white = np.zeros((16, 16), bool)
    white[4:8, 2:10] = True
    told = {**SD, "seed": 3, "steps": 3, "guidance": 4.0, "negative": "blurry"}
    drawn = model.sample(2, image=photo, mask=white, strength=1.0, **told)
    found = model.edit(photo, mask=white, samples=2, **told)
    assert torch.equal(drawn.state, found.state)
    assert (found.decoded[1][white] == drawn.decoded[1][white]).all()
    whole = model.edit(photo, strength=0.5, samples=2, **told)
    assert torch.equal(whole.state, model.sample(2, image=photo, strength=0.5, **told).state)
    assert (whole.decoded[0] == whole.codec.decode(whole.state)[0]).all()


def test_a_part_is_shown_about_the_mask_at_the_photos_own_resolution(saved):
    codec = perrin.load(saved("stable_diffusion")[1]).codec  # draws 16 x 16
    photo = np.random.default_rng(0).integers(0, 256, (90, 200, 3), np.uint8)
    white = np.zeros((90, 200), bool)
    white[50:55, 100:106] = True
    view = viewed(codec, (90, 200), white)
    assert view.box == (95, 44, 111, 60)
    assert view.size == (16, 16)
    assert (view.of(photo) == photo[44:60, 95:111]).all()
    shown = view.filled(white)
    assert shown[6:11, 5:11].all()
    assert shown.reshape(8, 2, 8, 2).all((1, 3)).sum() * 4 == shown.sum()  # whole latents
    assert shown.sum() == 6 * 8


@pytest.mark.parametrize("box", [(0, 0, 3, 4), (0, 190, 90, 200), (10, 5, 60, 195), (88, 100, 90, 101)])
def test_the_view_holds_the_mask_with_as_much_about_it_as_there_is(saved, box):
    codec = perrin.load(saved("stable_diffusion")[1]).codec
    white = np.zeros((90, 200), bool)
    white[box[0] : box[2], box[1] : box[3]] = True
    view = viewed(codec, (90, 200), white)
    left, top, right, bottom = view.box
    assert 0 <= left <= box[1] < box[3] <= right <= 200
    assert 0 <= top <= box[0] < box[2] <= bottom <= 90
    assert right - left >= min(200, 2 * (box[3] - box[1]))
    assert bottom - top >= min(90, 2 * (box[2] - box[0]))
    assert all(side % 4 == 0 and side <= 32 for side in view.size)
    across, down = (right - left) / view.size[1], (bottom - top) / view.size[0]
    assert 0.8 < across / down < 1.25


@pytest.mark.parametrize("box", [(20, 40, 45, 90), (0, 0, 89, 30), (60, 150, 90, 200)])
def test_what_is_drawn_lies_where_it_was_seen(saved, box):
    """A model that answers with what it was shown gives the photo back, in place, also where its sides are scaled apart."""
    codec = perrin.load(saved("stable_diffusion")[1]).codec
    rows, columns = np.mgrid[0:90, 0:200]
    smooth = (10 + rows + 0.7 * columns).astype(np.uint8)
    white = np.zeros((90, 200), bool)
    white[box[0] : box[2], box[1] : box[3]] = True
    view = viewed(codec, (90, 200), white)
    found = pasted(smooth, view.of(smooth), white, view.box)
    inner = (slice(max(box[0], 6), min(box[2], 84)), slice(max(box[1], 6), min(box[3], 194)))
    assert np.abs(found[inner].astype(int) - smooth[inner]).max() <= 3


def test_models_of_squares_see_a_square(saved):
    model = perrin.load(saved("dit")[1])
    white = np.zeros((90, 200), bool)
    white[50:60, 100:110] = True
    assert viewed(model.codec, (90, 200), white).box == (95, 45, 115, 65)
    assert viewed(model.codec, (90, 200), None).box == (55, 0, 145, 90)
    white[50:60] = True  # no square holds it: the whole of its width is squeezed into one
    view = viewed(model.codec, (90, 200), white)
    assert view.box == (0, 0, 200, 90)
    assert view.size == (16, 16)
    assert viewed(model.codec, (90, 200), white, height=24).size == (24, 24)
    with pytest.raises(PerrinError, match="draws squares, and 24 x 16 is none"):
        model.sample(1, height=16, width=24)


def test_thin_masks_fill_the_latents_that_they_touch(saved):
    """A line of one pixel between those that a nearest reduction reads would fill nothing."""
    model = perrin.load(saved("stable_diffusion")[1])
    photo = np.full((16, 16, 3), 90, np.uint8)
    white = np.zeros((16, 16), bool)
    white[7] = True
    found = model.edit(photo, mask=white, **SD, **FEW)
    plain = found.codec.decode(model.codec.encode([{"value": photo, "label": None, "name": ""}]).state)[0]
    assert (found.decoded[0][7] != plain[7]).any()


def test_what_does_not_fit_is_refused(saved):
    model = perrin.load(saved("stable_diffusion")[1])
    photo, white = np.zeros((16, 16, 3), np.uint8), np.ones((16, 16), bool)
    with pytest.raises(PerrinError, match="the mask is of 8 x 8 pixels, the image of 16 x 16"):
        model.edit(photo, mask=white[:8, :8], **SD)
    with pytest.raises(PerrinError, match="repaints everything"):
        model.edit(photo, mask=white, **SD)
    with pytest.raises(PerrinError, match="repaints nothing"):
        model.edit(photo, mask=~white, **SD)
    with pytest.raises(PerrinError, match="strength = 0"):
        model.edit(photo, strength=0.0, **SD)
    with pytest.raises(PerrinError, match="method is of models of pixels"):
        model.edit(photo, method="mmps", **SD)
    with pytest.raises(PerrinError, match="knows texts, no classes"):
        model.edit(photo, label=3, **SD)
    with pytest.raises(PerrinError, match="give one"):
        model.edit(photo)
    with pytest.raises(PerrinError, match="not of latents"):
        model.edit(torch.zeros(4, 8, 8), **SD)
    with pytest.raises(PerrinError, match="width = 17 is not a multiple of 4"):
        model.edit(photo, width=17, **SD)
    with pytest.raises(PerrinError, match="knows no texts"):
        perrin.load(saved("dit")[1]).edit(photo, prompt="a cat")
    with pytest.raises(PerrinError, match="give image and mask"):
        perrin.load(saved("inpainting")[1]).edit(photo, strength=0.5, **SD)


@pytest.mark.filterwarnings("ignore:.*as coarse as that")
def test_the_command_edits_a_photo_and_makes_it_again(saved, tmp_path, capsys):
    picture(tmp_path / "a.png", 33, 50, colour=True)
    hole(tmp_path / "m.png", 33, 50, box=(8, 20, 22, 41))
    words = [
        "edit",
        str(saved("stable_diffusion")[1]),
        str(tmp_path / "a.png"),
        "--mask",
        str(tmp_path / "m.png"),
    ]
    words += [
        "--prompt",
        "a cat",
        "--negative",
        "blurry",
        "--strength",
        "0.8",
        "--guidance",
        "4",
        "-n",
        "2",
        "--steps",
        "4",
    ]
    assert entry.main([*words, "--out", str(tmp_path / "out"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["largest_change_outside_the_mask"] == 0
    made = tmp_path / "out" / "00001.png"
    said = read_provenance(made)
    assert said["made_by"] == "edit"
    assert said["wanted"]["prompt"] == "a cat"
    assert said["image"]["file"] == str(tmp_path / "a.png")
    assert len(said["mask"]["hash"]) == 12
    assert Image.open(made).info["parameters"].startswith("a cat\nNegative prompt: blurry")
    assert entry.main(["repro", str(made), "--out", str(tmp_path / "again.png"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["identical"]
    assert (tmp_path / "again.png").read_bytes() == made.read_bytes()
    assert entry.main(["repro", str(tmp_path / "out" / "overview.png")]) == 2
    assert "a sheet of edits" in capsys.readouterr().err


def test_a_photo_without_a_mask_is_drawn_at_a_size_that_the_model_can_draw(saved, tmp_path, capsys):
    picture(tmp_path / "a.png", 33, 50, colour=True)
    words = [
        "edit",
        str(saved("stable_diffusion")[1]),
        str(tmp_path / "a.png"),
        "--prompt",
        "a cat",
        "--steps",
        "3",
    ]
    with pytest.warns(UserWarning, match="50 x 33 pixels; its edits have the model's 20 x 12"):
        assert entry.main([*words, "--strength", "0.5", "-n", "1", "--out", str(tmp_path / "one.png")]) == 0
    assert Image.open(tmp_path / "one.png").size == (20, 12)
    assert entry.main(["repro", str(tmp_path / "one.png"), "--json"]) == 0
    assert '"identical": true' in capsys.readouterr().out
    sides = ["--strength", "0.5", "-n", "1", "--height", "32", "--width", "48"]
    with pytest.warns(UserWarning, match="the model's 48 x 32"):
        assert entry.main([*words, *sides, "--out", str(tmp_path / "two.png")]) == 0
    assert entry.main(words) == 2
    assert "say what to change" in capsys.readouterr().err


def test_the_command_merges_a_lora_and_remembers_it(saved, tmp_path, capsys):
    pipeline, folder = saved("stable_diffusion")
    picture(tmp_path / "a.png", 20, 20, colour=True)
    hole(tmp_path / "m.png", 20, 20, box=(4, 4, 12, 12))
    name = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
    high, wide = pipeline.unet.get_submodule(name).weight.shape
    factors = {
        f"unet.{name}.lora_A.weight": torch.ones(2, wide),
        f"unet.{name}.lora_B.weight": torch.randn(high, 2),
    }
    save_file(factors, tmp_path / "style.safetensors")
    words = [
        "edit",
        str(folder),
        str(tmp_path / "a.png"),
        "--mask",
        str(tmp_path / "m.png"),
        "--prompt",
        "a cat",
    ]
    words += ["-n", "1", "--steps", "2"]
    style = ["--lora", f"{tmp_path / 'style.safetensors'}:0.5"]
    for name, more in (("plain", []), ("styled", style)):
        assert entry.main([*words, *more, "--out", str(tmp_path / f"{name}.png")]) == 0
    plain, styled = (np.asarray(Image.open(tmp_path / f"{name}.png")) for name in ("plain", "styled"))
    assert (plain != styled).any()
    capsys.readouterr()
    assert entry.main(["repro", str(tmp_path / "styled.png"), "--json"]) == 0
    assert '"identical": true' in capsys.readouterr().out


def test_a_changed_model_is_remade_from_its_changes(saved, tmp_path, capsys):
    picture(tmp_path / "a.png", 20, 20)
    hole(tmp_path / "m.png", 20, 20, box=(4, 4, 12, 12))
    model = perrin.load(saved("stable_diffusion")[1]).tiled(8)
    found = perrin.edit(model, tmp_path / "a.png", mask=tmp_path / "m.png", samples=1, steps=2, **SD)
    found.save(tmp_path / "out.png")
    assert entry.main(["repro", str(tmp_path / "out.png"), "--json"]) == 0
    assert '"identical": true' in capsys.readouterr().out


def test_an_edit_of_python_names_its_files_or_says_that_there_are_none(saved, tmp_path, capsys):
    pixels = picture(tmp_path / "a.png", 20, 20, colour=True)
    hole(tmp_path / "m.png", 20, 20, box=(4, 4, 12, 12))
    model = perrin.load(saved("stable_diffusion")[1])
    of_files = model.edit(tmp_path / "a.png", mask=tmp_path / "m.png", samples=1, steps=2, **SD)
    of_files.save(tmp_path / "files.png")
    assert entry.main(["repro", str(tmp_path / "files.png"), "--json"]) == 0
    assert '"identical": true' in capsys.readouterr().out
    model.edit(pixels, strength=0.5, samples=1, steps=2, **SD).save(tmp_path / "pixels.png")
    assert entry.main(["repro", str(tmp_path / "pixels.png")]) == 2
    assert "pixels that are in no file" in capsys.readouterr().err


def test_models_that_enlarge_are_refused(saved):
    with pytest.raises(PerrinError, match="enlarges pictures"):
        perrin.load(saved("upscaler")[1]).edit(np.zeros((16, 16, 3), np.uint8), strength=0.5, **SD)


def test_the_same_photo_and_seed_give_other_pixels_under_another_prompt(saved):
    model = perrin.load(saved("stable_diffusion")[1])
    photo, white = np.full((16, 16, 3), 90, np.uint8), np.zeros((16, 16), bool)
    white[:8] = True
    one, other = (
        model.edit(photo, mask=white, prompt=text, steps=3, guidance=8.0, samples=1).state
        for text in ("a red cube", "two green cones")
    )
    assert float((one - other).abs().max()) > 1e-3
