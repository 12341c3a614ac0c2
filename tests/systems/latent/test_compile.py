"""Compiled networks give the pictures of the pipelines: without a break in their graphs, and by the compiler itself."""

import shutil

import numpy as np
import pytest
import torch
from tests.systems.latent.comparing import NEGATIVE, NOISE, PROMPTS, STEPS, chain_plan, ours

import perrin
from perrin.errors import PerrinError

NAMES = ["stable_diffusion", "pixart", "stable_diffusion_3"]


@pytest.fixture(autouse=True)
def anew():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def of_pipeline(pipeline, name):
    """Its pictures [2, 16, 16, 3] in [0, 1]."""
    own = {"clean_caption": False, "use_resolution_binning": False} if name == "pixart" else {}
    negative = NEGATIVE if name == "pixart" else [NEGATIVE] * 2
    return pipeline(
        PROMPTS, negative_prompt=negative, latents=NOISE, num_inference_steps=STEPS, guidance_scale=5.0, height=16,
        width=16, output_type="np", **own,
    ).images  # fmt: skip


def of_ours(model, pipeline):
    return ours(model, NOISE, chain_plan(model, pipeline), 5.0, prompt=PROMPTS, negative=NEGATIVE)


@pytest.mark.parametrize("name", NAMES)
def test_a_network_is_one_graph_for_all_steps(saved, name):
    pipeline, folder = saved(name)
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    model = perrin.load(folder).compile(backend=backend, fullgraph=True)
    assert np.abs(of_ours(model, pipeline) - of_pipeline(pipeline, name)).max() < 1e-3
    assert len(graphs) == 1
    assert model.chosen.count("the network compiled") == 1


def test_parts_that_visit_the_device_are_compiled_and_blocks_are_not(saved):
    pipeline, folder = saved("stable_diffusion")
    graphs = []
    model = perrin.load(folder, offload="parts")
    model.compile(backend=lambda graph, inputs: graphs.append(graph) or graph.forward, fullgraph=True)
    for _ in range(2):  # the second time its weights lie elsewhere
        assert np.abs(of_ours(model, pipeline) - of_pipeline(pipeline, "stable_diffusion")).max() < 1e-3
        model.visits.end()
    assert len(graphs) == 1
    with pytest.raises(PerrinError, match="offload parts"):
        perrin.load(folder, offload="layers").compile()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="the compiler of CPU code needs g++")
@pytest.mark.parametrize("name", NAMES)
def test_compiled_code_gives_the_pictures_of_the_pipeline(saved, name):
    pipeline, folder = saved(name)
    model = perrin.load(folder).compile()
    assert np.abs(of_ours(model, pipeline) - of_pipeline(pipeline, name)).max() < 1e-3
