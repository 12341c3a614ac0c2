"""A compiled model draws the same samples, and its file and its name are unchanged."""

from __future__ import annotations

import torch
from tests.model.making import point_model

from perrin.model import Model


def test_a_compiled_model_samples_and_saves_as_before(tmp_path):
    model, graphs = point_model(), []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    right = model.sample(4, seed=1, steps=3)
    name = model.hash
    compiled = model.compile(backend=backend)
    assert compiled is model
    torch._dynamo.reset()
    assert torch.equal(model.sample(4, seed=1, steps=3).state, right.state)
    assert 1 <= len(graphs) <= 2  # one for all evaluations; another where the first has other strides
    model.save(tmp_path)
    assert Model.load(tmp_path).hash == name
