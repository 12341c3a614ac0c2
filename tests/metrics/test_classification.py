"""Class accuracy and the control beside it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from perrin.errors import PerrinError
from perrin.metrics import class_accuracy, shuffled_accuracy


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1))
def test_is_the_share_of_equal_labels(pairs: list[tuple[int, int]]) -> None:
    predicted, asked = (torch.tensor(column) for column in zip(*pairs, strict=True))
    assert class_accuracy(predicted, asked) == pytest.approx(sum(a == b for a, b in pairs) / len(pairs))


def test_the_control_has_the_expectation_of_independent_labels() -> None:
    # sum_c P(predicted = c) P(asked = c) = .5 * .2 + .5 * .8
    predicted = torch.tensor([0, 1]).repeat(500)
    asked = (torch.arange(1000) >= 200).long()
    assert shuffled_accuracy(predicted, asked) == pytest.approx(0.5, abs=0.01)
    assert shuffled_accuracy(asked, asked) == pytest.approx(0.2**2 + 0.8**2, abs=0.01)


def test_lists_of_different_length_are_refused() -> None:
    with pytest.raises(PerrinError, match="lists of one length"):
        class_accuracy(torch.zeros(3), torch.zeros(4))
