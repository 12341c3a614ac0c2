"""The kind `latents`: images through an autoencoder of the user's own."""

import json

import numpy as np
import pytest
import torch
from tests.systems.latent import making
from tests.training.tiny import write_images

from perrin.errors import PerrinError
from perrin.registry import kinds

KIND = kinds["latents"]


@pytest.fixture(scope="module")
def autoencoder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("there") / "vae"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        making.autoencoder().save_pretrained(folder)
    return folder


@pytest.fixture
def dataset(tmp_path):
    return KIND.open(write_images(tmp_path, count=6, side=16))


def test_states_are_the_autoencoders_means_scaled_and_come_back_as_it_gives_them(autoencoder, dataset):
    codec = KIND.codec.fit(dataset, autoencoder=str(autoencoder), size=16)
    assert codec.shape == (4, 8, 8)
    items = [dataset[i] for i in range(len(dataset))]
    batch = codec.encode(items)
    assert batch.state.dtype == torch.float32
    assert batch.condition["label"].tolist() == [item["label"] for item in items]
    assert codec.sigma_data == pytest.approx(float(batch.state.double().std(unbiased=False)), rel=1e-6)
    torch.testing.assert_close(codec.encode(items[2:3]).state[0], batch.state[2])
    from diffusers import AutoencoderKL

    vae = AutoencoderKL.from_pretrained(autoencoder)
    pixels = torch.from_numpy(np.stack([np.stack([item["value"].squeeze()] * 3) for item in items]))
    with torch.no_grad():
        means = vae.encode(pixels.float() / 127.5 - 1).latent_dist.mean
        back = vae.decode(means).sample.clamp(-1, 1)
    torch.testing.assert_close(batch.state, 0.3 * means, rtol=1e-4, atol=1e-5)
    decoded = np.stack(codec.decode(batch.state))
    assert np.abs(decoded - (back.movedim(1, -1).numpy() + 1) * 127.5).max() <= 0.51


def test_its_config_is_json_and_makes_it_again(autoencoder, dataset):
    codec = KIND.codec.fit(dataset, autoencoder=str(autoencoder), size=(16, 8), labels=False)
    assert codec.classes is None
    assert KIND.codec.from_config(json.loads(json.dumps(codec.config()))) == codec


def test_the_classes_of_the_data_are_the_first_of_a_network_that_has_more(autoencoder, dataset, tmp_path):
    codec = KIND.codec.fit(dataset, autoencoder=str(autoencoder), size=16, classes=4)
    assert codec.classes == ["a", "b", "class 2", "class 3"]
    plain = KIND.open(dataset_without_classes(tmp_path))
    codec = KIND.codec.fit(plain, autoencoder=str(autoencoder), size=16, classes=4)
    assert len(codec.classes) == 4
    assert codec.encode([plain[0], plain[1]]).condition["label"].tolist() == [-1, -1]
    with pytest.raises(PerrinError, match="2 classes"):
        KIND.codec.fit(dataset, autoencoder=str(autoencoder), size=16, classes=1)


def dataset_without_classes(folder):
    """The images of one class alone, in a folder of their own."""
    return write_images(folder, count=6, side=16) / "a"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "codec.autoencoder is missing"),
        ({"autoencoder": "nowhere"}, "no such folder"),
        ({"size": 15}, "multiples of 2"),
    ],
)
def test_what_it_cannot_be_made_of_is_refused(autoencoder, dataset, options, said):
    own = {} if not options else {"autoencoder": str(autoencoder), "size": 16, **options}
    with pytest.raises(PerrinError, match=said):
        KIND.codec.fit(dataset, **own)
