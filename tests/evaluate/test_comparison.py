"""Each figure says what it should on generated sets whose faults are known."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from perrin.errors import PerrinError
from perrin.evaluate import figures, gaussian_states, rows


@pytest.fixture(scope="module")
def judge(digits, classifier):  # type: ignore[no-untyped-def]
    def run(states: torch.Tensor, asked: torch.Tensor | None, **options: Any) -> dict[str, Any]:
        return figures(
            states, asked, digits.train, digits.train_labels, digits.test, digits.test_labels,
            extractor=classifier, **options,
        )  # fmt: skip

    return run


def test_copies_of_training_images_are_exposed(judge, digits) -> None:  # type: ignore[no-untyped-def]
    result = judge(digits.train[:400], digits.train_labels[:400])
    assert result["class_accuracy"] > 0.99  # perfect by every other figure
    assert result["precision"] >= 0.95 * result["precision_ceiling"]
    assert result["nearest_ratio"] == 0
    assert result["copy_share"] == 1
    assert result["nearest"]["generated"] == result["nearest"]["train"]  # the pairs are found


def test_real_images_reach_the_ceilings(judge, digits) -> None:  # type: ignore[no-untyped-def]
    # Training images as samples: the very thing that the ceilings are means of.
    order = torch.randperm(len(digits.train), generator=torch.Generator().manual_seed(7))[:500]
    result = judge(digits.train[order], digits.train_labels[order])
    for name in ("precision", "recall", "coverage"):
        assert result[name] == pytest.approx(result[f"{name}_ceiling"], abs=0.05)
    assert result["frechet_distance"] < 2 * result["frechet_ceiling"]
    assert abs(result["kid"]) < 4 * result["kid_stderr"]


def test_the_baseline_has_the_class_and_no_structure(judge, digits) -> None:  # type: ignore[no-untyped-def]
    asked = digits.test_labels
    states = gaussian_states(500, digits.train, digits.train_labels, asked, seed=11)
    result = judge(states, asked)
    assert result["class_accuracy"] > 0.8
    assert result["precision"] < 0.9 * result["precision_ceiling"]
    assert result["coverage"] < 0.7 * result["coverage_ceiling"]
    assert result["frechet_distance"] > 3 * result["frechet_ceiling"]
    assert result["frechet_distance"] == pytest.approx(result["frechet_baseline"], rel=0.3)


def test_wrong_classes_fall_to_the_control(judge, digits) -> None:  # type: ignore[no-untyped-def]
    wrong = judge(digits.test, (digits.test_labels + 1) % 10)
    assert wrong["class_accuracy"] < 0.02
    shuffled = digits.test_labels[torch.randperm(500, generator=torch.Generator().manual_seed(0))]
    result = judge(digits.test, shuffled)
    assert result["class_accuracy"] == pytest.approx(result["class_accuracy_control"], abs=0.05)
    assert result["class_accuracy_ceiling"] >= 0.985


def test_a_missing_class_costs_coverage_and_recall_not_precision(judge, digits) -> None:  # type: ignore[no-untyped-def]
    kept = digits.train_labels < 5
    result = judge(digits.train[kept], digits.train_labels[kept])
    assert result["coverage"] < 0.65
    assert result["recall"] < 0.65
    assert result["precision"] > 0.9


def test_noise_is_recognised(judge) -> None:  # type: ignore[no-untyped-def]
    noise = torch.rand(300, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    result = judge(noise, torch.arange(300) % 10)
    assert result["class_accuracy"] < 0.3
    assert result["coverage"] < 0.3
    assert result["frechet_distance"] > 10 * result["frechet_ceiling"]


def test_everything_is_deterministic_and_json(judge, digits) -> None:  # type: ignore[no-untyped-def]
    first, second = (judge(digits.test[:100], digits.test_labels[:100], seed=3) for _ in range(2))
    assert json.dumps(first) == json.dumps(second)
    assert len(rows(first)) >= 9
    assert all(row.ceiling is not None for row in rows(first))


def test_without_labels_there_is_no_accuracy_and_the_rest_stands() -> None:
    generator = torch.Generator().manual_seed(0)

    def ring(count: int) -> torch.Tensor:
        angle = torch.rand(count, generator=generator) * 6.2832
        return torch.stack([angle.cos(), angle.sin()], 1) + 0.05 * torch.randn(count, 2, generator=generator)

    train, test, good = ring(800), ring(300), ring(300)
    result = figures(good, None, train, None, test, None)
    assert "class_accuracy" not in result
    assert "principal components" in result["features"]
    assert result["precision"] > 0.9
    assert result["coverage"] > 0.9
    assert result["precision_baseline"] < 0.5  # a Gaussian fills the hole of the ring


def test_the_baseline_has_the_moments_of_each_class() -> None:
    labels = torch.arange(4000) % 2
    states = (
        torch.randn(4000, 3, generator=torch.Generator().manual_seed(0)) * (1 + labels[:, None])
        + labels[:, None]
    )
    asked = torch.cat([torch.zeros(3000), torch.ones(1000)]).long()
    drawn = gaussian_states(4000, states, labels, asked)
    for label in (0, 1):
        members, real = drawn[asked == label], states[labels == label]
        assert torch.allclose(members.mean(0), real.mean(0), atol=0.3)
        assert torch.allclose(members.std(0), real.std(0), rtol=0.1)
    assert float(drawn.max()) <= float(states.max())


def test_bad_input_is_named(judge, digits) -> None:  # type: ignore[no-untyped-def]
    broken = digits.test.clone()
    broken[4, 0, 3, 3] = float("nan")
    with pytest.raises(PerrinError, match="generated item 4 holds NaN"):
        judge(broken, None)
    with pytest.raises(PerrinError, match="5 generated items are too few; k = 5 needs at least 6"):
        judge(digits.test[:5], None)
    with pytest.raises(PerrinError, match=r"generated states are \(8, 8\), training states \(1, 8, 8\)"):
        judge(digits.test[:, 0], None)
    with pytest.raises(PerrinError, match="500 generated items with labels of shape"):
        judge(digits.test, digits.test_labels[:9])
