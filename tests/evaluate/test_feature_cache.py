"""Trained once per content; a damaged file is trained again; a read-only folder costs time only."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from perrin.evaluate import feature_cache, feature_extractor, train_classifier
from perrin.saving import cache_folder

LABELS = torch.arange(30) % 3
STATES = torch.randn(30, 4, generator=torch.Generator().manual_seed(0)) + LABELS[:, None]


@pytest.fixture(autouse=True)
def trained(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The seeds of the trainings that took place, each a short one."""
    calls: list[int] = []

    def counted(states: torch.Tensor, labels: torch.Tensor, *, seed: int) -> object:
        calls.append(seed)
        return train_classifier(states, labels, seed=seed)

    monkeypatch.setattr("perrin.evaluate.feature_classifier.presentations", lambda count: 640)
    monkeypatch.setattr(feature_cache, "train_classifier", counted)
    return calls


def only_file() -> Path:
    (path,) = cache_folder().iterdir()
    return path


def test_the_same_data_are_trained_once_and_give_the_same_features(trained: list[int]) -> None:
    first = feature_extractor(STATES, LABELS).features(STATES)
    second = feature_extractor(STATES.clone(), LABELS.clone()).features(STATES)
    assert trained == [0]
    assert torch.equal(first, second)


def test_other_data_labels_or_seed_are_trained_anew(trained: list[int]) -> None:
    feature_extractor(STATES, LABELS)
    feature_extractor(STATES, LABELS, seed=1)
    feature_extractor(STATES, LABELS.flip(0))
    changed = STATES.clone()
    changed[7, 2] += 1e-6
    feature_extractor(changed, LABELS)
    assert trained == [0, 1, 0, 0]
    assert len(list(cache_folder().iterdir())) == 4


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def one_bit_flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-10] ^= 1
    path.write_bytes(bytes(data))


def of_another_network(path: Path) -> None:
    weights = load_file(path)
    weights["head.weight"] = torch.zeros(5, 5)
    save_file(weights, path, metadata={"sha256": feature_cache._checksum(weights)})


@pytest.mark.parametrize("damage", [cut_short, emptied, one_bit_flipped, of_another_network])
def test_a_damaged_file_is_trained_again_and_mended(damage, trained: list[int]) -> None:  # type: ignore[no-untyped-def]
    expected = feature_extractor(STATES, LABELS).features(STATES)
    damage(only_file())
    assert torch.equal(feature_extractor(STATES, LABELS).features(STATES), expected)
    assert trained == [0, 0]
    feature_extractor(STATES, LABELS)
    assert trained == [0, 0]


def test_a_folder_that_cannot_be_written_is_only_warned_of(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.warns(UserWarning, match="could not be kept"):
        extractor = feature_extractor(STATES, LABELS, folder=blocked / "cache")
    assert extractor.features(STATES).shape == (30, 64)


def test_a_full_disk_leaves_no_half_file() -> None:
    def full(path: Path, content: bytes) -> None:
        path.write_text("half")
        raise OSError(28, "No space left on device")

    with patch.object(Path, "write_bytes", full), pytest.warns(UserWarning, match="the disk is full"):
        feature_extractor(STATES, LABELS)
    assert list(cache_folder().iterdir()) == []


def test_the_file_says_what_it_is() -> None:
    feature_extractor(STATES, LABELS)
    with safe_open(only_file(), framework="pt") as file:
        assert file.metadata()["made_by"] == "perrin.evaluate"
