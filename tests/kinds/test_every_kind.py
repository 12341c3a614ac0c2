"""What every registered kind of data promises; a new one is tested by its line in the registry."""

import inspect
import json

import numpy as np
import pytest
import torch

from perrin import registry

# a small file of each kind; a kind without one here fails its test, which asks for it
EXAMPLES = {
    "images": ("a.npz", {"images": np.random.default_rng(0).integers(0, 256, (12, 6, 6), np.uint8)}),
    "arrays": ("a.npz", {"values": np.random.default_rng(0).normal(size=(12, 3))}),
}


@pytest.fixture(params=list(registry.kinds))
def example(request, tmp_path):
    name, held = EXAMPLES[request.param]
    np.savez(tmp_path / name, **held, labels=np.arange(12) % 3)
    kind = registry.kinds[request.param]
    return request.param, kind, kind.open(tmp_path / name)


def test_it_goes_from_file_to_state_and_back_to_file(example, tmp_path):
    name, kind, dataset = example
    codec = kind.codec.fit(dataset)
    assert codec.kind == name
    batch = codec.encode([dataset[i] for i in range(12)], seeds=range(12))
    assert batch.state.shape == (12, *codec.shape)
    assert batch.state.dtype == torch.float32
    assert batch.condition["label"].tolist() == [i % 3 for i in range(12)]
    decoded = codec.decode(batch.state)
    for item, value in zip(dataset, decoded, strict=True):
        np.testing.assert_allclose(value, item["value"], rtol=1e-5, atol=1e-6)
    assert codec.picture(decoded).size > (1, 1)
    assert all(path.is_file() for path in codec.save(decoded, tmp_path / "out", [{"seed": 0}] * 12))


def test_its_config_and_description_are_json(example):
    _, kind, dataset = example
    codec = kind.codec.fit(dataset)
    assert kind.codec.from_config(json.loads(json.dumps(codec.config()))) == codec
    description = json.loads(json.dumps(dataset.description))
    assert description["count"] == 12
    assert len(description["sha256"]) == 64
    assert dataset.skipped == []


def test_an_item_alone_and_in_a_batch_is_the_same_state(example):
    _, kind, dataset = example
    codec = kind.codec.fit(dataset)
    together = codec.encode([dataset[i] for i in range(12)]).state
    assert torch.equal(codec.encode([dataset[7]]).state[0], together[7])


def test_its_options_are_annotated_keywords(example):
    _, kind, _ = example
    for function, first in ((kind.open, "path"), (kind.codec.fit, "dataset")):
        names = list(inspect.signature(function).parameters.values())
        assert names[0].name == first
        for parameter in names[1:]:
            assert parameter.kind is inspect.Parameter.KEYWORD_ONLY
            assert parameter.annotation is not inspect.Parameter.empty
            assert parameter.default is not inspect.Parameter.empty
