"""Pixels <-> states: exact where nothing is resized, random only by an item's seed."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from perrin.errors import PerrinError
from perrin.kinds.images import ImageCodec, Images
from perrin.kinds.images.framing import frame


def items(*values, label=None):
    return [{"value": value, "label": label, "name": f"item {i}"} for i, value in enumerate(values)]


shapes = st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3]))
codecs = st.builds(
    ImageCodec,
    shape=st.tuples(st.sampled_from([1, 3]), st.integers(1, 999), st.integers(1, 999)),
    classes=st.none() | st.lists(st.text(max_size=5), max_size=4),
    sigma_data=st.floats(1e-6, 10),
    crop=st.sampled_from(["centre", "random"]),
    flip=st.sampled_from(["none", "horizontal", "vertical", "both"]),
)


@given(shapes.flatmap(lambda s: arrays.arrays(np.uint8, s if s[2] == 3 else s[:2])))
def test_decoding_an_encoded_image_gives_every_pixel_back(pixels):
    channels = 1 if pixels.ndim == 2 else 3
    codec = ImageCodec((channels, *pixels.shape[:2]), None, 0.5)
    state = codec.encode(items(pixels)).state
    assert state.dtype == torch.float32
    assert state.abs().max() <= 1
    assert np.array_equal(codec.decode(state)[0], pixels)


@given(codecs)
def test_a_codec_survives_its_config_through_json(codec):
    assert ImageCodec.from_config(json.loads(json.dumps(codec.config()))) == codec


def test_a_config_with_a_wrong_entry_names_the_nearest():
    config = ImageCodec((1, 2, 2), None, 0.5).config()
    with pytest.raises(PerrinError, match="did you mean 'flip'"):
        ImageCodec.from_config({**config, "flips": "none"})
    with pytest.raises(PerrinError, match="did you mean 'horizontal'"):
        ImageCodec.from_config({**config, "flip": "horizontally"})


@pytest.mark.parametrize("shape", [(1, 3, 2), (3, 2, 2)])
def test_log_det_is_that_of_the_jacobian(shape):
    codec = ImageCodec(shape, None, 0.5)
    values = torch.rand(shape, dtype=torch.float64) * 255
    size = math.prod(shape)
    jacobian = torch.autograd.functional.jacobian(codec.normalise, values).reshape(size, size)
    assert torch.linalg.slogdet(jacobian).logabsdet.item() == pytest.approx(codec.log_det(), rel=1e-12)


def test_the_lattice_holds_the_state_of_every_pixel_value():
    codec = ImageCodec((1, 16, 16), None, 0.5)
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    lattice = codec.lattice
    expected = (lattice.low + lattice.step * torch.arange(lattice.count)).reshape(1, 1, 16, 16)
    torch.testing.assert_close(codec.encode(items(pixels)).state.double(), expected, rtol=0, atol=1e-7)
    assert float(lattice.step.log()) * 256 == pytest.approx(codec.log_det(), rel=1e-12)


def test_augmentation_is_a_function_of_the_seed_alone(noise):
    codec = ImageCodec((3, 8, 8), None, 0.5, crop="random", flip="both")
    pictures = items(*(noise(8, 24, 3, seed=i) for i in range(40)))
    seeds = list(range(-20, 20))
    together = codec.encode(pictures, seeds).state
    alone = torch.cat(
        [codec.encode([item], [seed]).state for item, seed in zip(pictures, seeds, strict=True)]
    )
    backwards = codec.encode(pictures[::-1], seeds[::-1]).state.flip(0)
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002  the global generator must not matter
    assert torch.equal(together, alone)
    assert torch.equal(together, backwards)
    assert torch.equal(together, codec.encode(pictures, seeds).state)
    assert not torch.equal(together, codec.encode(pictures).state)


@pytest.mark.parametrize("flip", ["none", "horizontal", "vertical", "both"])
def test_states_are_flipped_as_their_items_would_have_been(flip):
    pixels = items(*np.random.default_rng(0).integers(0, 256, (16, 4, 6, 3), np.uint8))
    codec, seeds = ImageCodec((3, 4, 6), None, 0.5, flip=flip), list(range(-8, 8))
    assert codec.augments_states
    assert torch.equal(codec.augmented(codec.encode(pixels).state, seeds), codec.encode(pixels, seeds).state)
    assert not ImageCodec((3, 4, 6), None, 0.5, crop="random", flip=flip).augments_states


def test_every_flip_happens_about_half_of_the_time(noise):
    pixels = noise(4, 4)
    views = {"same": pixels, "across": pixels[:, ::-1], "down": pixels[::-1], "both": pixels[::-1, ::-1]}
    count = dict.fromkeys(views, 0)
    for seed in range(2000):
        framed = frame(pixels, (4, 4), flip="both", seed=seed)
        count[next(name for name, view in views.items() if np.array_equal(view, framed))] += 1
    # four equally likely views: 500 each, standard deviation 19
    assert all(abs(number - 500) < 4 * math.sqrt(2000 * 0.25 * 0.75) for number in count.values()), count


def test_random_crops_reach_both_ends_and_the_centre_crop_the_middle():
    ramp = np.repeat(np.arange(0, 250, 10, dtype=np.uint8)[None], 5, axis=0)  # [5, 25], a value per column
    left = [int(frame(ramp, (5, 5), crop="random", seed=seed)[0, 0]) for seed in range(300)]
    assert min(left) <= 5
    assert max(left) >= 195
    assert frame(ramp, (5, 5))[0].tolist() == [100, 110, 120, 130, 140]


def test_downscaling_is_antialiased():
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 255  # point sampling would give all black or all white
    small = frame(stripes, (16, 16))
    assert abs(int(small[8, 8]) - 128) <= 2


@example((29, 5), (7, 1))  # rounding once pushed the crop past the border
@given(st.tuples(st.integers(1, 40), st.integers(1, 40)), st.tuples(st.integers(1, 12), st.integers(1, 12)))
def test_any_size_fits_any_frame_and_a_flat_image_stays_flat(source, target):
    framed = frame(np.full(source, 77, np.uint8), target, crop="random", seed=3)
    assert framed.shape == target
    assert (framed == 77).all()


def test_the_common_size_is_the_default_and_other_sizes_need_one(tmp_path, write_png, noise):
    write_png(tmp_path / "a.png", noise(20, 30, 3))
    assert Images.codec.fit(Images.open(tmp_path)).shape == (3, 20, 30)
    write_png(tmp_path / "b.png", noise(40, 50, 3))
    with pytest.raises(PerrinError, match=r"2 sizes, from 30x20 to 50x40; .* such as size: 16") as error:
        Images.codec.fit(Images.open(tmp_path))
    assert "\n" not in str(error.value)
    assert Images.codec.fit(Images.open(tmp_path), size=16).shape == (3, 16, 16)
    assert Images.codec.fit(Images.open(tmp_path), size=(8, 16)).shape == (3, 8, 16)
    with pytest.raises(PerrinError, match="size 0"):
        Images.codec.fit(Images.open(tmp_path), size=0)


def test_mixed_channels_need_a_decision(tmp_path, write_png, noise):
    write_png(tmp_path / "a.png", noise(8, 8, 3))
    write_png(tmp_path / "b.png", noise(8, 8, 3, seed=1))
    write_png(tmp_path / "c.png", noise(8, 8))
    dataset = Images.open(tmp_path)
    with pytest.raises(PerrinError, match=r"1 images are grey and 2 are colour \(such as 'c.png'\)") as error:
        Images.codec.fit(dataset)
    assert "channels: 3 or channels: 1" in str(error.value)
    assert Images.codec.fit(dataset, channels=3).encode(list(dataset)).state.shape == (3, 3, 8, 8)
    assert Images.codec.fit(dataset, channels=1).encode(list(dataset)).state.shape == (3, 1, 8, 8)
    with pytest.raises(PerrinError, match="write 1"):
        Images.codec.fit(dataset, channels=2)


def test_sigma_data_is_the_standard_deviation_of_the_states():
    dataset = Images.open("digits")
    codec = Images.codec.fit(dataset)
    state = codec.encode(list(dataset)).state.double()
    assert codec.sigma_data == pytest.approx(state.std(correction=0).item(), rel=1e-9)
    assert codec.shape == (1, 8, 8)


def test_labels_reach_the_condition_and_names_reach_the_labels(noise):
    codec = ImageCodec((1, 4, 4), ["cat", "dog"], 0.5)
    batch = codec.encode(items(noise(4, 4), label=1) + items(noise(4, 4)))
    assert batch.condition["label"].dtype == torch.int64
    assert batch.condition["label"].tolist() == [1, -1]
    assert [codec.label(name) for name in ("dog", 0, "1")] == [1, 0, 1]
    with pytest.raises(PerrinError, match="did you mean 'dog'"):
        codec.label("dgo")
    with pytest.raises(PerrinError, match="known: cat, dog"):
        codec.label(2)
    with pytest.raises(PerrinError, match="beyond the model's 2 classes"):
        codec.encode(items(noise(4, 4), label=2))
    with pytest.raises(PerrinError, match="no labels"):
        ImageCodec((1, 4, 4), None, 0.5).label("cat")
    assert ImageCodec((1, 4, 4), None, 0.5).encode(items(noise(4, 4))).condition is None


def test_what_is_no_image_is_refused_by_name():
    codec = ImageCodec((1, 4, 4), None, 0.5)
    for value in (np.full((4, 4), np.nan), np.zeros(4, np.uint8), np.zeros((4, 4, 2), np.uint8)):
        with pytest.raises(PerrinError, match="item 0: an image is uint8"):
            codec.encode(items(value))


def test_states_that_are_no_images_are_refused():
    codec = ImageCodec((1, 4, 4), None, 0.5)
    state = torch.zeros(3, 1, 4, 4)
    state[2, 0, 1, 1] = torch.nan
    with pytest.raises(PerrinError, match="state 2 holds NaN or infinity"):
        codec.decode(state)
    with pytest.raises(PerrinError, match="this codec decodes"):
        codec.decode(torch.zeros(3, 3, 4, 4))
    assert codec.decode(torch.full((1, 1, 4, 4), 7.0))[0].max() == 255


def test_an_empty_dataset_is_refused():
    dataset = Images.open("digits")
    with pytest.raises(PerrinError, match="empty"):
        Images.codec.fit(dataset.take(np.arange(0)))
