"""What a set is worth: paired seeds, and figures that tell a good set from a bad one."""

import pytest
import torch

import perrin
from perrin.augmenting import Part, worth
from perrin.augmenting.measuring import CONTROL, scored, standard, trained
from perrin.errors import PerrinError


def part(count, seed, width=1.0, shuffled=False):
    """Three classes of points around the corners of a triangle."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    corners = torch.tensor([[0.0, 2.0], [-1.7, -1.0], [1.7, -1.0]])
    states = corners[labels] + width * torch.randn(count, 2, generator=generator)
    return Part(states, labels[torch.randperm(count, generator=generator)] if shuffled else labels)


REAL, HELD = part(30, 0), part(600, 1)


def test_a_set_of_the_same_law_is_worth_what_real_items_are():
    found = worth(REAL, part(30, 2), HELD, seeds=3, shown=1_280).summary()["sets"]
    assert found["real"]["accuracy"] > 0.8
    assert found["synthetic"]["of_real"] > 0.93
    assert found["both"]["minus_real"] > -0.02
    assert found["both"]["items"] == 60


def test_a_set_with_wrong_labels_is_worth_chance():
    found = worth(REAL, part(300, 2, shuffled=True), HELD, seeds=3, shown=1_280).summary()
    assert found["sets"]["synthetic"]["accuracy"] < found["chance"] + 0.15
    assert found["sets"]["both"]["minus_real"] < -0.02


def test_seeds_are_paired():
    one, other = (worth(REAL, part(30, seed), HELD, seeds=3, shown=640) for seed in (2, 3))
    assert one.accuracy["real"] == other.accuracy["real"]
    assert one.accuracy["synthetic"] != other.accuracy["synthetic"]
    again = [scored(trained(part(30, 2), seed, 640), HELD)[0] for seed in range(3)]
    assert one.accuracy["synthetic"] == again
    assert len(set(again)) > 1
    same = worth(REAL, REAL, HELD, seeds=3, shown=640)
    assert same.accuracy["synthetic"] == same.accuracy["real"]
    assert same.summary()["sets"]["synthetic"]["minus_real_stderr"] == 0


def test_the_balanced_accuracy_counts_every_class_alike():
    rare = Part(
        torch.cat([HELD.states, HELD.states[:3].repeat(200, 1)]),
        torch.cat([HELD.labels, torch.zeros(600, dtype=torch.long)]),
    )
    found = worth(REAL, REAL, rare, seeds=2, shown=640)
    assert found.chance == pytest.approx(800 / 1200)
    assert found.accuracy["real"] != found.balanced["real"]


def test_items_without_a_label_are_left_out():
    some = Part(
        torch.cat([REAL.states, torch.full((5, 2), 9.0)]), torch.cat([REAL.labels, torch.full((5,), -1)])
    )
    assert (
        worth(some, REAL, HELD, seeds=2, shown=640).accuracy
        == worth(REAL, REAL, HELD, seeds=2, shown=640).accuracy
    )


def test_pictures_have_a_control_that_needs_no_model():
    pictures = Part(
        torch.randn(12, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 2
    )
    found = worth(pictures, pictures, pictures, seeds=2, shown=640)
    assert [*found.accuracy] == ["real", "synthetic", "both", "real" + CONTROL, "both" + CONTROL]
    assert all(len(values) == 2 for values in found.accuracy.values())


def test_the_standard_alterations_mirror_half_and_move_little():
    picture = torch.zeros(400, 1, 16, 16)
    picture[:, :, 4:12, 2:5] = 1  # a bar at the left
    moved = standard(picture, torch.Generator().manual_seed(0))
    left = moved[..., :8].sum((1, 2, 3)) > moved[..., 8:].sum((1, 2, 3))
    assert 0.4 < left.double().mean() < 0.6
    unmirrored = moved[left]
    assert (unmirrored.sum((1, 2, 3)) - 24).abs().max() < 9
    assert unmirrored[..., 8:].sum() < 0.02 * unmirrored.sum()


@pytest.mark.parametrize(
    ("synthetic", "seeds", "says"),
    [(Part(REAL.states, None), 3, "classes alone"), (REAL, 1, "at least 2")],
)
def test_what_cannot_be_measured_is_refused(synthetic, seeds, says):
    with pytest.raises(PerrinError, match=says):
        worth(REAL, synthetic, HELD, seeds=seeds)


def test_an_expansion_measures_itself(blobs):
    model, learned, unseen = blobs
    found = perrin.augment(model, learned, n=100, test=unseen)
    told = []
    result = found.measure(seeds=2, shown=1_280, progress=lambda *given: told.append(given))
    assert told[-1] == ("training classifiers", 6, 6)
    assert result.summary()["sets"]["synthetic"]["accuracy"] > 0.95
    assert found.summary()["worth"]["tested"] == 200
    assert any("minus real" in line for line in found.lines())
