"""From ABC files to judged tunes by the command line."""

import json

import pytest
import yaml
from tests.training.tiny import text_recipe

from perrin.cli import entry

pytest.importorskip("music21", reason="the extra 'music' is not installed")
NOTES = "CDEFGABc"


def tune(number):
    """Eight bars of 4/4, another melody for every number."""
    bars = [
        "".join(NOTES[(number * 3 + bar + 2 * i * (1 + number % 3)) % 8] for i in range(8))
        for bar in range(8)
    ]
    return f"X:{number}\nT:Tune {number}\nM:4/4\nL:1/8\nK:C\n{'|'.join(bars)}|]\n"


def test_a_model_of_tunes_is_judged_as_tunes(tmp_path, capsys):
    (tmp_path / "tunes.abc").write_text("\n".join(tune(n) for n in range(1, 25)))
    recipe = text_recipe(tmp_path / "tunes.abc", steps=3, batch=4, validation=2)
    recipe |= {"name": "tunes", "kind": "music", "held_out": 4, "codec": {"context": 96, "labels": False}}
    (tmp_path / "tunes.yaml").write_text(yaml.safe_dump(recipe))
    run = tmp_path / "run"
    assert entry.main(["train", str(tmp_path / "tunes.yaml"), "--out", str(run)]) == 0
    capsys.readouterr()
    assert entry.main(["evaluate", str(run), "-n", "6", "--out", str(tmp_path / "judged"), "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    for name in ("parses_share", "bars_share", "whole_share"):  # of real tunes, which the model never met
        assert figures[f"{name}_ceiling"] == 1.0
    assert figures["whole_bars"] < 0.5  # after three steps of training nothing keeps time
    assert 0 <= figures["metres_distance"] <= 1
    assert figures["counts"] == {"generated": 6, "training": 18, "test": 4}
    page = (tmp_path / "judged" / "report.html").read_text()
    assert "Good tunes" in page
    assert (tmp_path / "judged" / "samples.abc").read_text().startswith("X:")
