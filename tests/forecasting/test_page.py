"""The page of a forecast shows its numbers, needs no network, and counts events as the tables do."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from tests.forecasting.test_forecast import densities, of_paths

from perrin.forecasting.page import MOST_COLUMNS, content, fan_page
from perrin.kinds.series.events import parse_event

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture
def found():
    rng = np.random.default_rng(0)
    paths = rng.normal(size=(40, 2, 6)).cumsum(-1)
    return of_paths(paths, log_probs={"bound": densities(rng.normal(size=40))})


def held(page):
    script = re.search(r'<script id="content" type="application/json">(.*?)</script>', page, re.DOTALL)
    return json.loads(script[1])


def test_a_page_holds_the_paths_and_what_is_known_of_them(found):
    shown = held(fan_page(found))
    np.testing.assert_allclose(np.array(shown["paths"]), found.paths, rtol=1e-5)
    np.testing.assert_allclose(shown["log_density"], found.log_prob.value, rtol=1e-5)
    notable = {(one["name"], one.get("column")): one["path"] for one in shown["notable"]}
    assert notable["most likely", None] == found.most_likely()
    assert notable["most extreme", None] == found.most_extreme()
    assert notable["lowest", 1] == found.lowest(1)
    assert shown["past"]["values"] == found.history.values.tolist()


def test_a_page_needs_nothing_from_elsewhere(found):
    page = fan_page(found)
    assert "{{" not in page
    elsewhere = re.findall(r"(?:src|href)=|url\(|import\(|fetch\(|https?://(?!www\.w3\.org/2000/svg)", page)
    assert elsewhere == []


def test_no_name_of_a_column_ends_the_script():
    bad = "</script><script>alert(1)</script>"
    paths = np.random.default_rng(0).normal(size=(3, 1, 4))
    page = fan_page(of_paths(paths, names=(bad,)))
    assert held(page)["names"] == [bad]
    assert page.count("<script") == 2
    assert "&lt;/script&gt;" in page[: page.index("</title>")]


def test_gaps_and_forecasts_without_densities_have_a_page(found):
    found.history.values[0, 1] = np.nan
    shown = content(of_paths(found.paths))
    assert shown["log_density"] is None
    assert content(found)["past"]["values"][0] == [0.0, None, 0.0]
    assert "most likely" not in {one["name"] for one in shown["notable"]}


@pytest.mark.parametrize(
    ("event", "opening"),
    [
        ("b[-2] < 3", {"column": 1, "statistic": "at", "step": 5, "side": -1, "number": 3.0}),
        ("last(a) >= 3", {"column": 0, "statistic": "at", "step": 6, "side": 1, "number": 3.0}),
        ("mean(b) > -2", {"column": 1, "statistic": "mean", "step": 6, "side": 1, "number": -2.0}),
        ("mean(b[1:3]) > 2", None),
        ("max(a) > 1 and min(b) < 2", None),
        ("max(a) > 1 or min(b) < 2", None),
        ("change(a) > 1", None),
    ],
)
def test_a_page_opens_with_the_event_that_was_asked_for(found, event, opening):
    found.events.append(parse_event(event, found.names))
    assert content(found)["opening"] == opening


def test_a_page_of_many_columns_says_how_many_it_leaves_out():
    paths = np.random.default_rng(0).normal(size=(3, MOST_COLUMNS + 5, 4))
    shown = content(of_paths(paths, names=tuple(f"c{i}" for i in range(MOST_COLUMNS + 5))))
    assert shown["left_out"] == 5
    assert len(shown["paths"][0]) == len(shown["names"]) == MOST_COLUMNS


SCRIPT = """
<script>
$("column").value = 1; $("statistic").value = "STATISTIC"; $("side").value = SIDE;
$("column").dispatchEvent(new Event("change"));
$("number").value = 0.5; $("number").dispatchEvent(new Event("change"));
$("step").value = 3; $("step").dispatchEvent(new Event("change"));
$("notable").children[1].click();
</script></body>"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium to show the page")
@pytest.mark.parametrize(
    ("statistic", "side", "event"),
    [("max", 1, "max(b) > 0.5"), ("mean", -1, "mean(b) < 0.5"), ("at", 1, "b[3] > 0.5")],
)
def test_the_page_counts_an_event_as_the_forecast_does(found, tmp_path, statistic, side, event):
    page = fan_page(found)
    page = page.replace("</body>", SCRIPT.replace("STATISTIC", statistic).replace("SIDE", str(side)))
    (tmp_path / "fan.html").write_text(page, encoding="utf-8")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=2000"]
    done = subprocess.run(
        [*command, f"--user-data-dir={tmp_path}/profile", "--dump-dom", f"file://{tmp_path}/fan.html"],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    p, error = found.probability(event)
    assert 0 < p < 1
    assert f'id="share">= {100 * p:.1f} ± {100 * error:.1f} %<' in done.stdout
    assert f'<output id="path">path {found.least_likely()}, log-density' in done.stdout
    assert done.stdout.count("<article>") == 2
