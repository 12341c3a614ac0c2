"""Volumes to states and back: scales, planes, neighbours, patches, resampling, files."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image

from perrin.errors import PerrinError
from perrin.kinds.provenance import read_provenance

nibabel = pytest.importorskip("nibabel")
pytest.importorskip("pydicom")

from tests.kinds.scans import voxels, write_nifti, write_series, write_slice  # noqa: E402

from perrin.kinds.volumes import (  # noqa: E402
    Volume,
    Volumes,
    VolumesCodec,
    cut_patches,
    joined_patches,
    open_volumes,
    patch_places,
)
from perrin.kinds.volumes.resampling import Grid, resampled  # noqa: E402

STRAIGHT = np.diag([-0.7, -0.8, 2.5, 1.0])  # LPS: the standard orientation


@pytest.fixture
def head(tmp_path):
    """A volume [1, 9, 8, 6] in the standard orientation, whose voxels all differ."""
    numbers = np.random.default_rng(0).permutation(9 * 8 * 6).reshape(6, 8, 9).astype(np.int16)
    return open_volumes(write_nifti(tmp_path / "head.nii.gz", numbers, STRAIGHT))


@pytest.fixture
def ct(tmp_path):
    """A CT series of six slices of 5 x 4 in HU."""
    write_series(tmp_path / "ct", voxels(6, 5, 4, low=0, high=2400))
    return open_volumes(tmp_path / "ct")


def fitted(dataset, **options):
    """A codec, and the items that it learns from."""
    codec = VolumesCodec.fit(dataset, **options)
    return codec, [codec.cut(dataset)[i] for i in range(len(codec.cut(dataset)))]


@pytest.mark.parametrize(
    ("window", "low", "high"),
    [
        ("brain", 0, 80),
        ("lung", -1350, 150),
        ("bone", -500, 1300),
        ("soft tissue", -150, 250),
        ((10, 4), 8, 12),
    ],
)
def test_a_window_maps_its_ends_to_minus_one_and_one_and_clips(ct, window, low, high):
    codec, items = fitted(ct, window=window)
    state = codec.encode(items).state[0, 0]
    values = torch.from_numpy(items[0]["value"].values[0])
    expected = (2 * (values - low) / (high - low) - 1).clamp(-1, 1)
    torch.testing.assert_close(state, expected, rtol=0, atol=1e-6)
    (decoded,) = codec.decode(codec.encode(items).state)
    np.testing.assert_allclose(decoded.values, np.clip(items[0]["value"].values, low, high), atol=1e-3)
    assert (decoded.units, decoded.modality) == ("HU", "CT")


def test_percentiles_of_the_training_data_are_the_scale_and_nothing_is_clipped(head):
    codec, items = fitted(head, percentiles=(10, 90))
    values = items[0]["value"].values
    assert (codec.scale.low, codec.scale.high) == tuple(np.percentile(values, [10, 90]))
    state = codec.encode(items).state
    assert float(state.max()) > 1.1
    np.testing.assert_allclose(codec.decode(state)[0].values, values, atol=1e-3)


def test_sigma_data_is_the_spread_of_the_states(head):
    codec, items = fitted(head, axis="coronal")
    states = codec.encode(items).state.double()
    assert codec.sigma_data == pytest.approx(float(states.std(correction=0)), rel=1e-6)


def test_a_window_in_hu_is_refused_for_values_that_are_none(head, ct, tmp_path):
    with pytest.raises(PerrinError, match="window 'brain' is in HU"):
        VolumesCodec.fit(head, window="brain")
    with pytest.raises(PerrinError, match="did you mean 'brain'"):
        VolumesCodec.fit(ct, window="brian")
    with pytest.raises(PerrinError, match="has no width"):
        VolumesCodec.fit(ct, window=(40, 0))
    air = write_nifti(tmp_path / "ct.nii.gz", voxels(4, 5, 6, low=-1000, high=1000), STRAIGHT)
    assert VolumesCodec.fit(open_volumes(air), window="brain").scale.high == 80  # a CT without its units


def test_slices_lie_as_on_a_light_box(head):
    values = head[0]["value"].values[0]  # d to the head, h to the back, w to the left
    for axis, expected in (
        ("axial", [values[i] for i in range(9)]),
        ("coronal", [values[::-1, i] for i in range(8)]),  # head on top
        ("sagittal", [values[::-1, :, i] for i in range(6)]),  # nose to the left
    ):
        _, items = fitted(head, axis=axis)
        assert [item["value"].shape for item in items] == [(1, *one.shape) for one in expected]
        for item, one in zip(items, expected, strict=True):
            np.testing.assert_array_equal(item["value"].values[0], one)
    assert items[2]["name"] == "head.nii.gz sagittal slice 2"


@pytest.mark.parametrize("axis", ["axial", "coronal", "sagittal"])
def test_a_voxel_of_a_slice_lies_where_it_lay_in_the_volume(head, axis):
    whole = head[0]["value"]
    of_value = {int(v): np.array(at) for at, v in np.ndenumerate(whole.values[0])}
    _, items = fitted(head, axis=axis)
    for item in items:
        piece = item["value"]
        h, w = 3, 1
        at = of_value[int(piece.values[0, h, w])]
        np.testing.assert_allclose(piece.affine @ [0, h, w, 1], whole.affine @ [*at, 1], atol=1e-9)


def test_neighbours_are_the_channels_of_a_slice(head):
    codec, items = fitted(head, axis="axial", neighbours=1)
    assert codec.shape == (3, 8, 6)
    assert len(items) == 7  # the outermost slices are neighbours alone
    values = codec.normalise(head[0]["value"].values[0])
    state = codec.encode(items).state.numpy()
    np.testing.assert_array_equal(state[4], values[4:7])
    (slab,) = codec.decode(torch.from_numpy(state[4:5]))
    assert slab.shape == (1, 3, 8, 6)
    np.testing.assert_allclose(slab.spacing, [2.5, 0.8, 0.7], rtol=1e-6)


def test_every_slice_of_every_case_is_an_item_once(tmp_path):
    for i in range(3):
        write_nifti(tmp_path / "all" / f"{i}.nii.gz", voxels(4, 5, 6 + i, seed=i), STRAIGHT)
    data = open_volumes(tmp_path / "all")
    codec, items = fitted(data, axis="axial")
    assert len(items) == 6 + 7 + 8
    assert codec.cut(codec.cut(data)).description["cases"] == 3
    seen = np.concatenate([item["value"].values.ravel() for item in items])
    held = np.concatenate([item["value"].values.ravel() for item in data])
    np.testing.assert_array_equal(np.sort(seen), np.sort(held))
    with pytest.raises(PerrinError, match="pieces of one volume are alike"):
        codec.cut(data).split(0.5, 0)


def test_empty_slices_are_left_out_where_asked_for(tmp_path):
    numbers = np.zeros((4, 5, 6), np.int16)
    numbers[:, :, 2:4] = 100
    data = open_volumes(write_nifti(tmp_path / "a.nii.gz", numbers, STRAIGHT))
    codec, items = fitted(data, axis="axial", percentiles=(0, 100), filled=0.5)
    assert [item["name"][-1] for item in items] == ["2", "3"]
    assert codec.cut(data).description["empty_pieces_left_out"] == 4
    with pytest.raises(PerrinError, match="emptier than asked for"):
        VolumesCodec.fit(data, axis="sagittal", percentiles=(0, 100), filled=0.5)


@pytest.mark.parametrize("size", [(11, 8, 9), (16, 16, 16), (5, 9, 30)])
@pytest.mark.parametrize("overlap", [0.0, 0.3, 0.5, 0.75])
def test_patches_put_together_are_the_volume(size, overlap):
    whole = torch.randn(2, *size, generator=torch.Generator().manual_seed(0))
    patch = (5, 8, 7)
    places = patch_places(size, patch, overlap)
    patches = cut_patches(whole, places, patch)
    assert patches.shape == (len(places), 2, *patch)
    assert (joined_patches(patches, places, size) - whole).abs().max() <= 1e-6
    exact = joined_patches(patches.double(), places, size) - whole.double()
    assert exact.abs().max() <= 1e-14
    ones = joined_patches(torch.ones_like(patches), places, size)
    torch.testing.assert_close(ones, torch.ones_like(ones), rtol=0, atol=1e-6)
    for axis, n in enumerate(patch):  # neighbours overlap by what was asked for at least
        starts = sorted({place[axis] for place in places})
        assert all(b - a <= max(1, int(n * (1 - overlap))) for a, b in pairwise(starts))


def test_seams_between_patches_are_smooth():
    # two patches that differ by 1: the blend rises monotonously from one to the other without a jump
    places = patch_places((12,), (8,), 0.5)
    assert places == [(0,), (4,)]
    joined = joined_patches(torch.stack([torch.zeros(8), torch.ones(8)]).double(), places, (12,))
    steps = joined.diff()
    assert (steps >= 0).all()
    assert steps.max() < 0.45
    assert (joined[:4] == 0).all()


def test_joining_is_differentiable_and_refuses_what_does_not_cover():
    places = patch_places((6, 6), (4, 4))
    patches = torch.randn(len(places), 1, 4, 4, dtype=torch.float64, requires_grad=True)
    joined_patches(patches, places, (6, 6)).sum().backward()
    assert float(patches.grad.sum()) == pytest.approx(36)  # the weights of every voxel add up to one
    with pytest.raises(PerrinError, match="uncovered"):
        joined_patches(patches[:1], places[:1], (6, 6))
    with pytest.raises(PerrinError, match="patches of 7x4 do not fit into 6x6"):
        patch_places((6, 6), (7, 4))
    with pytest.raises(PerrinError, match="overlap"):
        patch_places((6, 6), (4, 4), 1.0)


def test_patches_of_a_volume_are_items_that_cover_it(head):
    codec, items = fitted(head, patch=(4, 4, 3))
    assert codec.shape == (1, 4, 4, 3)
    view = codec.view
    places = [begin for begin, _ in view.places(head[0]["value"], "head")]
    states = codec.encode(items).state
    whole = joined_patches(states, places, (9, 8, 6))
    expected = codec.normalise(head[0]["value"].values)
    np.testing.assert_allclose(whole.numpy(), expected, atol=1e-6)
    with pytest.raises(PerrinError, match=r"head\.nii\.gz: patches of 10x10x10 do not fit into 9x8x6"):
        VolumesCodec.fit(head, patch=10)


def plane(shape, affine):
    """A volume whose values are a linear function of the place in the patient."""
    index = np.stack([*np.meshgrid(*map(np.arange, shape), indexing="ij"), np.ones(shape)], -1)
    world = index @ affine.T
    return Volume((world[..., 0] - 2 * world[..., 1] + 0.5 * world[..., 2])[None].astype(np.float32), affine)


@pytest.mark.parametrize("spacing", [0.5, 1.3, (1.0, 2.0, 0.3), (5.0, 1.6, 1.4)])
def test_resampling_keeps_a_linear_function_of_the_place_where_no_border_is_near(spacing):
    affine = np.diag([2.5, -0.8, -0.7, 1.0])[[2, 1, 0, 3]]
    volume = plane((12, 20, 24), affine)
    wanted = [spacing] * 3 if isinstance(spacing, float) else spacing
    found = resampled(volume, Grid.spaced(volume, wanted))
    np.testing.assert_allclose(found.spacing, wanted, rtol=1e-12)
    exact = plane(found.stack.shape[1:], found.affine).values
    inside = [slice(2, -2)] * 3
    assert found.values[(0, *inside)].size > 0
    np.testing.assert_allclose(found.values[(0, *inside)], exact[(0, *inside)], atol=1e-4)
    # the field of view keeps its middle
    middles = [v.affine @ [*((np.array(v.stack.shape[1:]) - 1) / 2), 1] for v in (volume, found)]
    np.testing.assert_allclose(*middles, atol=1e-9)


def test_larger_voxels_do_not_alias():
    stripes = np.tile(np.array([0, 1], np.float32), 32)[None, None, None].repeat(4, 2)
    volume = Volume(stripes, np.diag([1.0, 1.0, 1.0, 1.0]))
    found = resampled(volume, Grid.spaced(volume, (1.0, 1.0, 4.0)))
    np.testing.assert_allclose(found.values[..., 2:-2], 0.5, atol=0.01)


def test_a_piece_of_a_resampled_volume_is_that_piece_of_the_whole():
    values = np.random.default_rng(0).normal(size=(1, 9, 10, 11)).astype(np.float32)
    volume = Volume(values, np.diag([1.0, 1.0, 1.0, 1.0]))
    grid = Grid.spaced(volume, (0.7, 1.9, 1.0))
    whole = resampled(volume, grid)
    part = resampled(volume, grid.part((2, 1, 3), (5, 3, 6)))
    np.testing.assert_allclose(part.values, whole.values[:, 2:7, 1:4, 3:9], atol=1e-5)
    np.testing.assert_allclose(part.affine @ [1, 1, 1, 1], whole.affine @ [3, 2, 4, 1], atol=1e-9)


def test_resizing_covers_the_frame_and_crops_both_sides_alike(head):
    codec, items = fitted(head, axis="axial", size=6)
    state = codec.encode(items).state
    assert state.shape == (9, 1, 6, 6)
    values = codec.normalise(head[0]["value"].values[0])
    np.testing.assert_allclose(state[:, 0].numpy(), values[:, 1:7], atol=1e-6)  # step 1: 8 x 6 to 6 x 6
    half, items = fitted(head, axis="axial", size=(4, 3))
    assert half.encode(items).state.shape == (9, 1, 4, 3)
    np.testing.assert_allclose(half.voxel, [2.5, 1.6, 1.4], rtol=1e-6)


def test_an_item_alone_and_among_others_is_the_same_state_and_labels_come_along(tmp_path):
    for i in range(4):
        write_nifti(tmp_path / "all" / "ab"[i % 2] / f"{i}.nii.gz", voxels(4, 5, 6, seed=i), STRAIGHT)
    codec, items = fitted(open_volumes(tmp_path / "all"), axis="axial", flip="left_right")
    batch = codec.encode(items, seeds=range(24))
    assert batch.condition["label"].tolist() == [0] * 12 + [1] * 12
    assert torch.equal(codec.encode([items[7]], [7]).state[0], batch.state[7])
    plain = codec.encode(items).state
    assert torch.equal(codec.augmented(plain, range(24)), batch.state)
    mirrored = (batch.state != plain).flatten(1).any(1)
    assert 4 < int(mirrored.sum()) < 20
    assert torch.equal(batch.state[mirrored], plain.flip(-1)[mirrored])


ORIENTED = ["RAS", "LPS", "PIR", "SAL"]


@pytest.mark.parametrize("letters", ORIENTED)
def test_states_go_back_into_the_geometry_that_they_came_from(tmp_path, letters):
    straight = nibabel.Nifti1Image(voxels(5, 6, 7), np.diag([0.7, 0.8, 2.5, 1]))
    target = nibabel.orientations.axcodes2ornt(letters)
    turn = nibabel.orientations.ornt_transform(nibabel.io_orientation(straight.affine), target)
    nibabel.save(straight.as_reoriented(turn), tmp_path / "a.nii.gz")
    data = open_volumes(tmp_path / "a.nii.gz")
    codec, items = fitted(data)
    assert codec.shape == (1, 7, 6, 5)
    (back,) = codec.decode_like(codec.encode(items).state, [items[0]["value"]])
    np.testing.assert_allclose(back.values, items[0]["value"].values, atol=1e-3)
    codec.save([back], tmp_path / "b.nii.gz", [{"seed": 1}])
    one, other = nibabel.load(tmp_path / "a.nii.gz"), nibabel.load(tmp_path / "b.nii.gz")
    np.testing.assert_array_equal(one.affine, other.affine)
    np.testing.assert_array_equal(one.get_fdata(), other.get_fdata())  # int16: rounded to what was there


@pytest.mark.parametrize("letters", ORIENTED)
@pytest.mark.parametrize(
    "options",
    [
        {"axis": "axial"},
        {"axis": "sagittal"},
        {"axis": "coronal", "neighbours": 1},
        {"patch": 4},
        {"patch": 3, "overlap": 0},
    ],
)
def test_the_states_of_all_pieces_are_the_volume_in_its_own_geometry(tmp_path, letters, options):
    straight = nibabel.Nifti1Image(voxels(5, 6, 7), np.diag([0.7, 0.8, 2.5, 1]))
    target = nibabel.orientations.axcodes2ornt(letters)
    turn = nibabel.orientations.ornt_transform(nibabel.io_orientation(straight.affine), target)
    nibabel.save(straight.as_reoriented(turn), tmp_path / "a.nii.gz")
    data = open_volumes(tmp_path / "a.nii.gz")
    codec, items = fitted(data, **options)
    original = data[0]["value"]
    back = codec.assemble(codec.encode(items).state, original)
    np.testing.assert_allclose(back.values, original.values, atol=2e-3)
    np.testing.assert_array_equal(back.affine, original.affine)
    with pytest.raises(PerrinError, match="states of all its pieces"):
        codec.assemble(codec.encode(items[1:]).state, original)


def test_pieces_at_another_spacing_are_put_together_in_it(head):
    codec, items = fitted(head, patch=3, spacing=1.5)
    original = head[0]["value"]
    back = codec.assemble(codec.encode(items).state, original)
    np.testing.assert_allclose(back.spacing, 1.5)
    expected = resampled(original, Grid.spaced(original, (1.5, 1.5, 1.5)))
    np.testing.assert_allclose(back.values, expected.values, atol=1e-3)
    np.testing.assert_allclose(back.affine, expected.affine, atol=1e-9)


def test_a_slice_that_counts_backwards_goes_back_backwards(tmp_path):
    options = {"PhotometricInterpretation": "MONOCHROME1", "RescaleIntercept": "0", "PixelRepresentation": 0}
    numbers = voxels(5, 4, low=0, high=4096)
    write_slice(tmp_path / "x.dcm", numbers, (0, 0, 0), BitsStored=12, HighBit=11, **options)
    data = open_volumes(tmp_path / "x.dcm")
    codec, items = fitted(data, percentiles=(0, 100))
    state = codec.encode(items).state
    brightest = np.unravel_index(numbers.argmin(), numbers.shape)
    assert state[0, 0][brightest] == 1
    (back,) = codec.decode_like(state, [items[0]["value"]])
    np.testing.assert_allclose(back.values[0], numbers, atol=1e-3)
    codec_small, _ = fitted(data, size=3)
    with pytest.raises(PerrinError, match="was resized"):
        codec_small.decode_like(codec_small.encode(items).state, [items[0]["value"]])


def test_log_det_is_that_of_the_scaling(head):
    codec, items = fitted(head, axis="axial")
    values = items[0]["value"].values.astype(np.float64)
    step = codec.normalise(values + 1) - codec.normalise(values)
    assert codec.log_det() == pytest.approx(float(np.log(step).sum()), rel=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"axis": "sagittal", "neighbours": 2},
        {"patch": 3, "overlap": 0.25, "spacing": 1.5},
        {"size": (4, 3, 2)},
    ],
)
def test_a_codec_is_its_config(head, options):
    codec, items = fitted(head, **options)
    again = VolumesCodec.from_config(json.loads(json.dumps(codec.config())))
    assert again == codec
    assert torch.equal(again.encode(items).state, codec.encode(items).state)
    with pytest.raises(PerrinError, match="codec option 'shapes'"):
        VolumesCodec.from_config({**codec.config(), "shapes": 1})


def test_plain_arrays_are_encoded_too(head):
    codec, items = fitted(head, axis="axial")
    array = items[3]["value"].values
    for value in (array, array[0]):
        made = codec.encode([{"value": value, "label": None, "name": "x"}]).state[0]
        assert torch.equal(made, codec.encode([items[3]]).state[0])
    for value, said in (
        (np.zeros(4), "shape"),
        (np.full((8, 6), np.nan), "NaN"),
        (np.zeros((3, 8, 6)), "channels"),
    ):
        with pytest.raises(PerrinError, match=said):
            codec.encode([{"value": value, "label": None, "name": "x"}])
    with pytest.raises(PerrinError, match="cut it into slices"):
        codec.encode([head[0]])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"axis": "axail"}, "did you mean 'axial'"),
        ({"axis": "axial", "patch": 4}, "give one of them"),
        ({"neighbours": 1}, "needs slices"),
        ({"axis": "sagittal", "neighbours": 4}, "too few for 4 neighbours"),
        ({"axis": "sagittal", "flip": "left_right"}, "front and back"),
        ({"flip": "up"}, "flip 'up'"),
        ({"size": (4, 4)}, "is not a size"),
        ({"axis": "axial", "size": (4, 4, 4)}, "is not a size"),
        ({"size": 0}, "is not a size"),
        ({"spacing": -1.0}, "must be millimetres"),
        ({"percentiles": (90, 10)}, "must rise"),
        ({"patch": 0}, "is no size"),
        ({"patch": 4, "overlap": 1.0}, "overlap 1.0"),
    ],
)
def test_options_that_make_no_sense_are_refused(head, options, said):
    with pytest.raises(PerrinError, match=said):
        VolumesCodec.fit(head, **options)


def test_several_sizes_huge_volumes_and_mixed_kinds_ask_for_a_decision(tmp_path, monkeypatch):
    for i in range(2):
        write_nifti(tmp_path / "sizes" / f"{i}.nii.gz", voxels(4, 5 + i, 6), STRAIGHT)
    sizes = open_volumes(tmp_path / "sizes")
    with pytest.raises(PerrinError, match=r"2 sizes, from 6x5x4 .* size: 64, or patch: 32"):
        VolumesCodec.fit(sizes)
    assert VolumesCodec.fit(sizes, size=4).shape == (1, 4, 4, 4)
    monkeypatch.setattr("perrin.kinds.volumes.measuring.LARGEST", 100)
    with pytest.raises(PerrinError, match="too large for one state"):
        VolumesCodec.fit(sizes.take(np.array([0])))
    write_series(tmp_path / "mixed" / "ct", voxels(3, 5, 4))
    write_nifti(tmp_path / "mixed" / "a.nii.gz", voxels(4, 5, 3), STRAIGHT)
    with pytest.raises(PerrinError, match="several units: "):
        VolumesCodec.fit(open_volumes(tmp_path / "mixed"), size=4)
    write_slice(tmp_path / "flat" / "x.dcm", voxels(5, 4), (0, 0, 0))
    write_series(tmp_path / "flat" / "ct", voxels(3, 5, 4))
    with pytest.raises(PerrinError, match="a single slice and"):
        VolumesCodec.fit(open_volumes(tmp_path / "flat", labels=False), size=4)
    constant = open_volumes(write_nifti(tmp_path / "c.nii.gz", np.zeros((4, 5, 6), np.int16)))
    with pytest.raises(PerrinError, match="all voxels of the training data have the value 0"):
        VolumesCodec.fit(constant, size=4)


def test_slices_and_volumes_are_learnt_together_as_slices(tmp_path):
    write_slice(tmp_path / "flat" / "x.dcm", voxels(5, 4), (0, 0, 0))
    write_series(tmp_path / "flat" / "ct", voxels(3, 5, 4))
    codec, items = fitted(open_volumes(tmp_path / "flat", labels=False), axis="axial")
    assert codec.encode(items).state.shape == (4, 1, 5, 4)


def test_colours_are_states_of_three_channels(sample_data):
    data = open_volumes(sample_data("medical/dicom") / "examples_rgb_color.dcm")
    codec, items = fitted(data, size=32)
    assert codec.shape == (3, 32, 32)
    decoded = codec.decode(codec.encode(items).state)
    assert codec.picture(decoded).mode == "RGB"
    assert decoded[0].photometric == "RGB"


@pytest.mark.parametrize("options", [{"axis": "axial"}, {"axis": "coronal", "neighbours": 1}, {"patch": 4}])
@pytest.mark.parametrize("form", [".nii.gz", ".dcm", ".png", ""])
def test_decoded_states_are_saved_read_and_say_how_they_were_made(head, tmp_path, options, form):
    codec, items = fitted(head, **options)
    decoded = codec.decode(codec.encode(items[:2]).state)
    made = [{"seed": 3, "index": i} for i in range(2)]
    if form == ".nii.gz":
        with pytest.raises(PerrinError, match="give a folder"):
            codec.save(decoded, tmp_path / "both.nii.gz", made)
        files = codec.save(decoded[:1], tmp_path / "one.nii.gz", made[:1])
        np.testing.assert_array_equal(Volumes.read_saved(files[0]), decoded[0].stack)
    elif form == ".dcm":
        files = codec.save(decoded, tmp_path / "two.dcm", made)
        count = decoded[0].stack.shape[1]
        assert len(files) == 2 * count + 1  # and a picture of both
        read = open_volumes(files[0] if count == 1 else files[0].parent)[0]["value"]
        np.testing.assert_allclose(read.stack, decoded[0].stack, atol=0.01)
        np.testing.assert_allclose(read.affine, decoded[0].affine, atol=1e-6)
    elif form == ".png":
        files = codec.save(decoded, tmp_path / "both.png", made)
        assert read_provenance(files[0]) == {"items": made}
    else:
        files = codec.save(decoded, tmp_path / "folder", made)
        assert [path.name for path in files] == ["00000.nii.gz", "00001.nii.gz", "grid.png"]
    if form != ".png":
        assert read_provenance(files[0]) == made[0]
    with pytest.raises(PerrinError, match=r"not '.*\.mha'"):
        codec.save(decoded, tmp_path / "a.mha", made)


def test_a_volume_is_pictured_by_three_planes_in_the_bodys_proportions(head):
    codec, items = fitted(head, percentiles=(0, 100))
    (tile,) = codec.tiles(codec.decode(codec.encode(items).state))
    # 9 slices of 2.5 mm, 8 rows of 0.8 mm and 6 columns of 0.7 mm, a pixel for every 0.7 mm; gaps of 2
    assert tile.shape == (round(9 * 2.5 / 0.7), 6 + 2 + 6 + 2 + round(8 * 0.8 / 0.7))
    assert tile.max() > 200


def test_trajectories_are_animations(head, tmp_path):
    codec, items = fitted(head, axis="axial")
    states = [codec.encode(items[:2]).state * s for s in (0.1, 0.5, 1.0)]
    path = codec.save_trajectory(states, tmp_path / "t.gif", [{"seed": 0}] * 2)
    with Image.open(path) as moving:
        assert moving.n_frames == 3


def test_states_with_nan_or_of_another_shape_are_refused(head):
    codec, _ = fitted(head, axis="axial")
    bad = torch.zeros(2, *codec.shape)
    bad[1, 0, 2, 2] = float("nan")
    with pytest.raises(PerrinError, match="state 1 holds NaN"):
        codec.decode(bad)
    with pytest.raises(PerrinError, match="this codec decodes"):
        codec.decode(torch.zeros(2, 1, 3, 3))


def test_drawn_volumes_carry_no_trace_of_the_training_data(ct, tmp_path):
    codec, items = fitted(ct)
    drawn = codec.decode(codec.encode(items).state)[0]
    assert drawn.withheld == ()
    assert dict(drawn.header) == {"synthetic": True}
    like = codec.decode_like(codec.encode(items).state, [items[0]["value"]])[0]
    assert "synthetic" not in like.header
    assert replace(like).withheld == items[0]["value"].withheld
    codec.save([like], tmp_path / "out.dcm", [{}])
    assert "PatientName" in read_provenance(tmp_path / "out" / "0000.dcm")["stripped"]["removed"]


@pytest.mark.parametrize(
    ("codec", "net"),
    [
        ({"axis": "axial"}, {"name": "unet", "channels": 8, "multipliers": [1, 2], "blocks": 1}),
        (
            {"axis": "coronal", "neighbours": 1},
            {"name": "dit", "patch": 2, "width": 16, "blocks": 1, "heads": 2},
        ),
        ({"patch": 4}, {"name": "unet", "channels": 8, "multipliers": [1, 2], "blocks": 1}),
        ({}, {"name": "dit", "patch": 2, "width": 16, "blocks": 1, "heads": 2}),
    ],
    ids=["unet 2-D", "dit 2.5-D", "unet 3-D", "dit 3-D"],
)
def test_models_of_slices_and_volumes_train_sample_and_are_reproduced(tmp_path, codec, net):
    from tests.training.tiny import trainer

    from perrin.api import load
    from perrin.reproduction import reproduce

    for i in range(4):
        write_nifti(tmp_path / "scans" / "ab"[i % 2] / f"{i}.nii.gz", voxels(6, 6, 6, seed=i), STRAIGHT)
    recipe = {
        "name": "tiny",
        "kind": "volumes",
        "data": {"path": str(tmp_path / "scans")},
        "codec": codec,
        "net": net,
        "training": {"steps": 2, "batch": 2, "precision": "float32", "validation": 1},
        "sampling": {"steps": 2},
    }
    trainer(recipe, tmp_path / "run").run()
    model = load(tmp_path / "run")
    samples = model.sample(2, seed=1, label="b", batch=1)
    assert samples.state.shape == (2, *model.codec.shape)
    files = samples.save(tmp_path / "drawn")
    assert files[0].name == "00000_b.nii.gz"
    assert reproduce(files[0]).identical
