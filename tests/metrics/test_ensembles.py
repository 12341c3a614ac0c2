"""Coverage and matching on tables that can be counted by hand."""

import numpy as np
import pytest

from perrin.errors import PerrinError
from perrin.metrics import ensemble_coverage

TABLE = np.array([[0.1, 2.0, 3.0], [0.4, 1.0, 3.0]])  # two generated shapes, three references


def test_recall_asks_of_references_and_precision_of_generated_shapes():
    found = ensemble_coverage(TABLE, 0.5)
    assert found.cov_r == pytest.approx(1 / 3)
    assert found.mat_r == pytest.approx((0.1 + 1.0 + 3.0) / 3)
    assert found.cov_p == 1
    assert found.mat_p == pytest.approx((0.1 + 0.4) / 2)
    turned = ensemble_coverage(TABLE.T, 0.5)
    assert (turned.cov_r, turned.mat_r, turned.cov_p, turned.mat_p) == (*found[2:], *found[:2])


def test_a_distance_at_the_threshold_is_not_within_it():
    assert ensemble_coverage(TABLE, 1.0).cov_r == pytest.approx(1 / 3)
    assert ensemble_coverage(TABLE, 1.0 + 1e-9).cov_r == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("table", "threshold", "said"),
    [
        (np.zeros((0, 3)), 0.5, "neither empty"),
        (np.zeros(3), 0.5, "neither empty"),
        (-TABLE, 0.5, "not negative"),
        (TABLE * np.nan, 0.5, "finite"),
        (TABLE, 0.0, "threshold"),
    ],
)
def test_what_is_no_table_of_distances_is_refused(table, threshold, said):
    with pytest.raises(PerrinError, match=said):
        ensemble_coverage(table, threshold)
