"""Filters drop what they are for, copies and outliers, and about as few others as they drop real held-out items."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.augmenting import sets
from tests.augmenting.conftest import planted, states_of, write_blobs

import perrin
from perrin.augmenting import open_real
from perrin.augmenting.copying import nearness
from perrin.augmenting.drawing import Drawn
from perrin.augmenting.filtering import REASONS
from perrin.augmenting.pictures import pictures


def test_a_model_that_returns_training_items_has_them_dropped_as_copies(blobs):
    model, learned, unseen = blobs
    copies = states_of(model, learned)[:30]
    found = perrin.augment(planted(model, copies), learned, n=200, test=unseen, likelihood=0)
    assert found.drawn.reasons[:30] == ["copy"] * 30
    assert found.drawn.nearest[:30].tolist() == list(range(30))
    honest = found.drawn.reasons[30:200]
    assert honest.count("copy") <= 0.06 * len(honest)


def test_copies_that_are_not_exact_are_found_too(blobs):
    model, learned, unseen = blobs
    near = states_of(model, learned)[:30] + 1e-4
    found = perrin.augment(planted(model, near), learned, n=100, test=unseen, likelihood=0)
    assert found.drawn.reasons[:30].count("copy") >= 28


def test_copies_of_what_the_run_learned_are_found_though_the_data_are_others(blobs):
    model, learned, unseen = blobs
    copies = states_of(model, learned)[:30]
    found = perrin.augment(planted(model, copies), unseen, n=100, likelihood=0)
    assert found.drawn.reasons[:30] == ["copy"] * 30


def test_copies_of_what_was_learned_before_are_found_where_it_is_named(blobs, tmp_path):
    model, learned, unseen = blobs
    before = write_blobs(tmp_path / "before.npz", 100, 2)
    copies = states_of(model, before)[:30]
    asked = {"n": 100, "test": unseen, "likelihood": 0}
    assert (
        perrin.augment(planted(model, copies), learned, learned=before, **asked).drawn.reasons[:30]
        == ["copy"] * 30
    )
    assert perrin.augment(planted(model, copies), learned, **asked).drawn.reasons[:30].count("copy") < 10


def test_outliers_are_dropped_as_unlikely_and_nearly_all_others_kept(blobs):
    model, learned, unseen = blobs
    outliers = states_of(model, learned)[:20] + torch.tensor([0.0, 6.0])
    found = perrin.augment(planted(model, outliers), learned, n=200, test=unseen, copies=0)
    assert found.drawn.reasons[:20] == ["likelihood"] * 20
    honest = found.drawn.reasons[20:200]
    assert honest.count("likelihood") <= 0.12 * len(honest)


def test_items_of_another_class_are_dropped_by_the_classifier_alone(blobs):
    model, learned, unseen = blobs
    wrong = states_of(model, learned)[:40].flip(0)  # classes alternate, so each has the other's place
    asked = {"n": 100, "test": unseen, "likelihood": 0, "copies": 0}
    found = perrin.augment(planted(model, wrong), learned, agree=True, **asked)
    labels = found.drawn.labels[:40]
    of_wrong = [1 - i % 2 for i in range(40)]
    expected = ["class" if label != own else "" for label, own in zip(labels.tolist(), of_wrong, strict=True)]
    assert found.drawn.reasons[:40] == expected
    assert "class" not in perrin.augment(planted(model, wrong), learned, **asked).drawn.reasons


def test_the_likelihood_is_that_of_the_class_that_was_asked_for(blobs):
    model, learned, unseen = blobs
    strange = states_of(model, learned)[:40].flip(0)
    found = perrin.augment(planted(model, strange), learned, n=100, test=unseen, copies=0, samples=64)
    wrong = [i for i in range(40) if found.drawn.labels[i] != 1 - i % 2]
    right = [i for i in range(40) if i not in wrong]
    assert sum(found.drawn.reasons[i] == "likelihood" for i in wrong) >= 0.8 * len(wrong)
    assert sum(found.drawn.reasons[i] == "likelihood" for i in right) <= 0.2 * len(right)


def test_what_was_dropped_is_drawn_again_until_there_are_enough(blobs):
    model, learned, unseen = blobs
    copies = states_of(model, learned)[:30]
    found = perrin.augment(planted(model, copies), learned, per_class=40, test=unseen)
    assert torch.bincount(torch.tensor(found.labels)).tolist() == [40, 40]
    assert len(found.drawn.reasons) >= 110
    assert len({one["index"] for one in found.drawn.provenance}) == len(found.drawn.reasons)
    assert found.labels == [found.real.classes.index(one["class"]) for i, one in enumerate(found.drawn.provenance)
                            if found.drawn.reasons[i] == ""]  # fmt: skip


def test_a_limit_ends_the_drawing_and_the_report_says_so(blobs):
    model, learned, unseen = blobs
    copies = states_of(model, learned)[:30]
    found = perrin.augment(planted(model, copies), learned, per_class=20, test=unseen, most=1.0)
    facts = found.summary()
    assert facts["drawn"] == 40
    assert facts["kept"] == len(found) < 40
    assert any("fewer than wanted" in line for line in found.lines())


def test_the_report_adds_up(blobs):
    model, learned, unseen = blobs
    found = perrin.augment(planted(model, states_of(model, learned)[:5]), learned, n=60, test=unseen)
    facts = found.summary()
    assert facts["drawn"] == facts["kept"] + sum(facts["dropped"].values())
    for counts in facts["classes"].values():
        assert counts["drawn"] == counts["kept"] + sum(counts[reason] for reason in REASONS)
        assert counts["real"] == 200


def test_nearness_is_the_ratio_of_distances():
    real = torch.tensor([[0.0], [1.0], [3.0], [10.0]])
    ratio, nearest = nearness(torch.tensor([[1.5], [3.0]]), real)
    torch.testing.assert_close(
        ratio, torch.tensor([0.5 / np.mean([1.5, 1.5, 8.5]), 0.0], dtype=torch.float64)
    )
    assert nearest.tolist() == [1, 2]
    itself, _ = nearness(torch.tensor([[3.0]]), real, among=True)
    torch.testing.assert_close(itself, torch.tensor([2 / np.mean([3.0, 7.0])], dtype=torch.float64))


def test_a_smooth_item_far_from_all_is_no_copy_though_it_is_nearer_than_others_are():
    generator = torch.Generator().manual_seed(0)
    real = torch.randn(60, 400, generator=generator)
    blank, copy = torch.zeros(1, 400), real[:1] + 0.05 * torch.randn(1, 400, generator=generator)
    held = torch.randn(60, 400, generator=generator)
    limit = nearness(held, real)[0].quantile(0.01)
    assert nearness(blank, real)[0] > limit
    assert nearness(copy, real)[0] < limit


@pytest.mark.parametrize("flip", ["horizontal", "none"])
def test_mirrored_copies_count_where_the_model_saw_mirrored_items(flip, tmp_path):

    path, _ = sets.folder(tmp_path / "real")
    model = sets.picture_model()
    model.codec = replace(model.codec, flip=flip)

    real = open_real(model, path, {})
    mirrored = real.train.states.flip(-1)
    assert (bool((nearness(mirrored, real.seen)[0] == 0).all())) == (flip == "horizontal")


def test_pictures_show_ten_of_every_reason_and_copies_beside_what_they_copy(tmp_path):

    path, _ = sets.folder(tmp_path / "real")
    model = sets.picture_model()
    real = open_real(model, path, {})
    states = torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    reasons = ["copy"] * 12 + ["class"] + [""] * 7
    nearest = torch.arange(20) % len(real.seen)
    drawn = Drawn(states, model.codec.decode(states), torch.arange(20) % 3, [{}] * 20, reasons, nearest)
    found = pictures(drawn, real, model.codec)
    cell = pictures(Drawn(*list(vars(drawn).values())[:4], ["class"] + [""] * 19, nearest), real, model.codec)
    assert {*found} == {"kept", "dropped", "copies"}
    assert {*cell} == {"kept", "dropped"}
    assert found["dropped"].width - cell["dropped"].width > 8 * 48
    assert found["dropped"].height > 2 * 48
