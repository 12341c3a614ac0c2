"""Files of likelihoods: items without a number stay in the listing, with none."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

import torch

from perrin.evaluate.likelihoods import write
from perrin.likelihood import LogProb


def test_an_item_that_did_not_converge_is_listed_last_and_without_a_number(tmp_path):
    data = [{"name": f"item {i}", "label": None} for i in range(3)]
    value = torch.tensor([-1.0, math.nan, -2.0], dtype=torch.float64)
    found = {"ode": LogProb(value, torch.full_like(value, math.nan), ~value.isnan(), {}, 4)}
    model = SimpleNamespace(codec=SimpleNamespace(shape=(2,)))
    files = write(tmp_path, model, data, found, {"methods": {"ode": {"nats": math.nan, "parts": (1.0,)}}}, 0)
    read = json.loads(files[0].read_text(), parse_constant=lambda name: f"not JSON: {name}")
    assert [item["name"] for item in read["ranking"]] == ["item 2", "item 0", "item 1"]
    assert [item["ode"] for item in read["ranking"]] == [-2.0, -1.0, None]
    assert read["methods"]["ode"] == {"nats": None, "parts": [1.0]}
