"""Events of paths: read, written, counted; every mistake is answered with what would be right."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from perrin.errors import PerrinError
from perrin.kinds.series.events import parse_event
from perrin.kinds.series.quantile_targets import parse_targets

NAMES = ["WTI", "OT", "a b", "max"]
PATHS = np.random.default_rng(0).normal(size=(40, 4, 12))


EVENTS = {
    "WTI[3] > 0.2": PATHS[:, 0, 2] > 0.2,
    "WTI[-1] <= 0": PATHS[:, 0, 11] <= 0,
    "max(OT) > 1.5": PATHS[:, 1].max(1) > 1.5,
    "min(OT[5:10]) >= -1": PATHS[:, 1, 4:10].min(1) >= -1,
    "mean(`a b`[:4]) < 0": PATHS[:, 2, :4].mean(1) < 0,
    "sum('a b'[-3:]) > 1e-1": PATHS[:, 2, 9:].sum(1) > 0.1,
    "change(WTI[2:9]) > 0": PATHS[:, 0, 8] > PATHS[:, 0, 1],
    "last(WTI) > 0": PATHS[:, 0, 11] > 0,
    "last(OT[1:5]) > 0": PATHS[:, 1, 4] > 0,
    "max[2] > 0": PATHS[:, 3, 1] > 0,
    "max(max) > 2": PATHS[:, 3].max(1) > 2,
    "WTI[1] > 0 and OT[1] > 0 or WTI[2] < 0": (PATHS[:, 0, 0] > 0) & (PATHS[:, 1, 0] > 0)
    | (PATHS[:, 0, 1] < 0),
}


@pytest.mark.parametrize("text", EVENTS)
def test_events_hold_where_they_should(text):
    event = parse_event(text, NAMES)
    assert 0 < EVENTS[text].sum() < 40
    np.testing.assert_array_equal(event.holds(PATHS), EVENTS[text])


@pytest.mark.parametrize("text", EVENTS)
def test_what_is_written_is_read_as_the_same_event(text):
    event = parse_event(text, NAMES)
    assert parse_event(str(event), NAMES) == event


@pytest.mark.parametrize("text", EVENTS)
def test_margins_are_positive_where_an_event_holds_and_have_a_slope(text):
    values = torch.from_numpy(PATHS).requires_grad_()
    margin = parse_event(text, NAMES).margin(values)
    np.testing.assert_array_equal((margin > 0).numpy(), EVENTS[text])
    (slope,) = torch.autograd.grad(margin.sum(), values)
    step = 1e-3 * slope
    assert (parse_event(text, NAMES).margin(values + step) > margin).all()


def test_of_one_column_the_name_may_be_left_out():
    for text, whole in (
        ("max > 1", "max(WTI) > 1"),
        ("max() > 1", "max(WTI) > 1"),
        ("[3] < 2", "WTI[3] < 2"),
        ("mean[2:4] > 0", "mean(WTI[2:4]) > 0"),
        ("min([2:]) > 0", "min(WTI[2:-1]) > 0"),
        ("last >= 0", "WTI[-1] >= 0"),
    ):
        assert str(parse_event(text, ["WTI"])) == whole


def test_names_with_blanks_signs_or_functions_are_quoted():
    names = ["load (MW)", 'the "old"', "sum"]
    for text in ('"load (MW)"[1] > 2', 'max(`the "old"`) < 1', '"sum"[1] > 0'):
        assert str(parse_event(text, names)) == text


def test_a_value_that_is_missing_makes_nothing_true():
    paths = np.full((1, 1, 3), np.nan)
    assert not parse_event("[2] > 0 or [2] <= 0", ["a"]).holds(paths)[0]


MISTAKES = {
    "WTJ[3] > 1": "event 'WTJ\\[3\\] > 1': column 'WTJ' is not known; did you mean 'WTI'",
    "maximum(WTI) > 1": "function 'maximum' is not known; did you mean 'max'|known: max",
    "WTI > 1": "WTI is of which step. Write WTI\\[1\\]",
    "WTI[2:4] > 1": "is of which step",
    "WTI[0] > 1": "counted from 1",
    "WTI[x] > 1": "\\[x\\] says no step; write \\[3\\]",
    "WTI[3 > 1": "says no step",
    "WTI[3]": "compared with nothing; write WTI\\[3\\] > 90",
    "WTI[3] = 1": "followed by '=', not by one of > >= < <=",
    "WTI[3] > much": "followed by 'much', not by a number",
    "WTI[3] > inf": "not by a number",
    "WTI[3] >": "WTI\\[3\\] > what",
    "(WTI[3] > 1)": "not put in brackets",
    "max(WTI > 1": "max\\( is not closed",
    "WTI[3] > 1 and": "a statistic is missing",
    "WTI[3] > 1 OT[3] > 1": "'OT' stands where 'and', 'or' or the end should",
    "'WTI[3] > 1": "is not closed",
    "": "a statistic is missing",
    "min > 1": "which column. There are WTI, OT",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_mistakes_are_answered_in_one_line(text):
    with pytest.raises(PerrinError, match=MISTAKES[text]) as caught:
        parse_event(text, NAMES)
    assert "\n" not in str(caught.value)


def test_steps_that_are_not_drawn_are_refused():
    for text, message in (
        ("WTI[13] > 0", r"WTI\[13\]: step 13 is not drawn; there are 12 steps"),
        ("WTI[-13] > 0", "step -13 is not drawn"),
        ("max(WTI[9:-8]) > 0", "the range holds none"),
    ):
        event = parse_event(text, NAMES)
        with pytest.raises(PerrinError, match=message):
            event.check(12)
        with pytest.raises(PerrinError, match=message):
            event.holds(PATHS)
    with pytest.raises(PerrinError, match="3 says no event"):
        parse_event(3, NAMES)  # type: ignore[arg-type]


def test_targets_are_read_sorted_and_written():
    found = parse_targets("q90(OT[-1]) = 40 and q2.5(OT[-1]) = -1e1", NAMES)
    assert found.levels == pytest.approx((0.025, 0.9))
    assert found.values == (-10.0, 40.0)
    assert parse_targets(str(found), NAMES) == found


TARGET_MISTAKES = {
    "q100(OT[1]) = 3": "'q100' is no quantile",
    "median(OT[1]) = 3": "'median' is no quantile; write q90",
    "q50 = 3": "q50 is of what",
    "q50(OT[1]) > 3": "not followed by \\) = and a number",
    "q50(OT[1]) = 3 or q60(OT[1]) = 4": "'or' stands where 'and' or the end should",
    "q50(OT[1]) = 3 and q60(WTI[1]) = 4": "do not settle how the two go together",
    "q50(OT[1]) = 3 and q60(OT[1]) = 3": "q50 = 3 and q60 = 3 do not rise",
    "q50(OTT[1]) = 3": "did you mean 'OT'",
}


@pytest.mark.parametrize("text", TARGET_MISTAKES)
def test_mistaken_targets_are_refused(text):
    with pytest.raises(PerrinError, match=TARGET_MISTAKES[text]):
        parse_targets(text, NAMES)
