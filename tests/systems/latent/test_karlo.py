"""unCLIP in pixels: prior, decoder and what enlarges, each by its own chain, as the pipelines draw at the same noise.

All three schedulers are UnCLIPScheduler, which draws noise on every step: it is given ours. The decoder's learned variances
are compared on every step of its chain; on fewer, that scheduler interpolates between other ends than those of the chain.
"""

import json
import shutil
import sys

import numpy as np
import pytest
import torch
from tests.systems.latent import making_unclip
from tests.systems.latent.comparing import PROMPTS, ours, picture

import perrin
from perrin.cli.entry import main
from perrin.errors import PerrinError
from perrin.process.state import single
from perrin.sample import make_plan
from perrin.sample.noise import normals, seed_of, seed_tensor
from perrin.sample.running import prior

STEPS = 4
DECODER = seed_of(0, "decoder", "before")
PRIOR = seed_of(DECODER, "prior", "before")
SHAPES = {0: (3, 16, 16), DECODER: (3, 8, 8), PRIOR: (making_unclip.WIDTH,)}


def noise_of(seed):
    """What samples 0 and 1 of a seed begin with."""
    return single(prior([(seed, i) for i in range(2)], SHAPES[seed], torch.float32, "cpu"))


def plan_of(model, scheduler, steps):
    """DDPM on the levels that a scheduler visits."""
    scheduler.set_timesteps(steps)
    schedule = perrin.registry.schedules.build(model.design.parameterisation["schedule"])
    return make_plan("ddpm", grid=[*schedule.level(scheduler.timesteps.double()).tolist(), float("inf")])


def plans_of(model, pipeline):
    """(seed, plan) of what enlarges, of the decoder and, where there is one, of the prior."""
    decoder = model.codec.before.model
    found = [(0, plan_of(model, pipeline.super_res_scheduler, STEPS))]
    found += [(DECODER, plan_of(decoder, pipeline.decoder_scheduler, making_unclip.CHAIN))]
    if decoder.codec.before is not None:
        found += [(PRIOR, plan_of(decoder.codec.before.model, pipeline.prior_scheduler, STEPS))]
    return found


def precisely(scheduler):
    """Its table in float64: in float32, 1 - abar of the last step is wrong by 3e-4 of its value."""
    scheduler.betas = scheduler.betas.double()
    scheduler.alphas = 1 - scheduler.betas
    scheduler.alphas_cumprod = torch.cumprod(scheduler.alphas, 0)


def path_noise(seed, plan):
    """The draws of a plan's rows for samples 0 and 1 of a seed, in their order."""
    draws = [draw for row in plan.rows for draw in row.draws]
    names = [[seed_of((seed, i), "", d.stream, d.start, d.stop, d.visit) for i in range(2)] for d in draws]
    return [normals(seed_tensor(seeds), SHAPES[seed]) for seeds in names]


def same_noise(monkeypatch, pipeline, plans):
    """Make a pipeline draw our noise; what it is told beside."""
    noise = iter([one for seed, plan in reversed(plans) for one in path_noise(seed, plan)])
    place = sys.modules[type(pipeline.super_res_scheduler).__module__]
    monkeypatch.setattr(place, "randn_tensor", lambda *_, **__: next(noise))
    for name, part in pipeline.components.items():
        if name.endswith("_scheduler"):
            precisely(part)
    return noise, {
        "decoder_latents": noise_of(DECODER), "super_res_latents": noise_of(0), "decoder_guidance_scale": 3.0,
        "super_res_num_inference_steps": STEPS, "decoder_num_inference_steps": making_unclip.CHAIN, "output_type": "np",
    }  # fmt: skip


def test_text_to_image(saved, monkeypatch):
    pipeline, folder = saved("karlo")
    model = perrin.load(folder)
    plans = plans_of(model, pipeline)
    noise, told = same_noise(monkeypatch, pipeline, plans)
    expected = pipeline(
        PROMPTS, prior_latents=noise_of(PRIOR), prior_num_inference_steps=STEPS, prior_guidance_scale=4.0, **told
    ).images  # fmt: skip
    assert next(noise, None) is None
    first = {"plan": plans[2][1], "guidance": 4.0}
    before = {"plan": plans[1][1], "guidance": 3.0, "before": first}
    found = ours(model, noise_of(0), plans[0][1], 1.0, prompt=PROMPTS, before=before)
    assert np.abs(found - expected).max() < 1e-3
    assert np.abs(found[0] - found[1]).max() > 0.05
    for other in ({**before, "guidance": 2.0}, {**before, "before": {**first, "guidance": 1.0}}):
        assert (
            np.abs(ours(model, noise_of(0), plans[0][1], 1.0, prompt=PROMPTS, before=other) - found).max()
            > 5e-3
        )


def test_variations(saved, monkeypatch):
    pipeline, folder = saved("karlo_variations")
    model = perrin.load(folder)
    plans = plans_of(model, pipeline)
    noise, told = same_noise(monkeypatch, pipeline, plans)
    pictures = [picture(30, seed=1), picture(24, seed=2)]
    prepared = pipeline.feature_extractor(images=pictures, return_tensors="pt").pixel_values
    expected = pipeline(prepared, **told).images
    assert next(noise, None) is None
    before = {"plan": plans[1][1], "guidance": 3.0}
    found = ours(model, noise_of(0), plans[0][1], 1.0, variation_of=pictures, before=before)
    assert np.abs(found - expected).max() < 1e-3
    other = ours(model, noise_of(0), plans[0][1], 1.0, variation_of=pictures[::-1], before=before)
    assert np.abs(found - other).max() > 5e-3


@pytest.mark.parametrize(
    ("name", "wanted", "said"),
    [
        ("karlo_variations", {}, "give variation_of"),
        ("karlo", {}, "give one"),
        ("karlo", {"prompt": "a", "noise_level": 3}, "no noise_level"),
        ("karlo", {"prompt": "a", "variation_of": picture()}, "no image encoder"),
        ("karlo", {"prompt": "a", "before": {"before": {"step": 3}}}, "did you mean 'steps'"),
        (
            "karlo",
            {"prompt": "a", "height": 17},
            "height = 17 is not a multiple of 2; the nearest is 16",
        ),
    ],
)
def test_what_a_model_cannot_be_told(saved, name, wanted, said):
    with pytest.raises(PerrinError, match=said):
        perrin.load(saved(name)[1]).sample(1, steps=2, **wanted)


def test_a_sample_alone_is_the_same_among_others(saved):
    """On levels at which a network that predicts noise does not multiply its rounding by 1e4."""
    model = perrin.load(saved("karlo")[1])
    plan = make_plan("ddpm", grid=[-4.0, 0.0, 4.0, float("inf")])
    told = {"plan": plan, "seed": 5, "before": {"plan": plan, "before": {"steps": 3}}}
    prompts = ["a", "a much longer prompt of two green cones", "c"]
    many = model.sample(3, prompt=prompts, **told)
    for i in range(3):
        alone = model.sample(1, prompt=prompts[i], first=i, **told)
        assert float((alone.state[0] - many.state[i]).abs().max()) < 1e-4 * float(many.state[i].std())


def test_the_command_draws_a_small_picture_and_makes_it_again(saved, tmp_path):
    told = ["sample", str(saved("karlo")[1]), "-n", "1", "--prompt", "a", "--steps", "3"]
    assert main([*told, "--out", str(tmp_path)]) == 0
    assert main(["repro", str(next(tmp_path.glob("0*.png")))]) == 0


def test_a_folder_that_names_the_library_as_it_was(saved, tmp_path):
    """Karlo's own folder, and others from before diffusers moved the class: diffusers itself no longer opens them."""
    folder = shutil.copytree(saved("karlo")[1], tmp_path / "model")
    index = json.loads((folder / "model_index.json").read_text())
    index["text_proj"] = ["unclip", "UnCLIPTextProjModel"]
    (folder / "model_index.json").write_text(json.dumps(index))
    found, other = (perrin.load(place) for place in (folder, saved("karlo")[1]))
    assert found.codec.before.model.hash == other.codec.before.model.hash


def test_the_last_step_has_a_network_of_its_own(saved):
    model = perrin.load(saved("karlo")[1])
    times = {"net": [], "last": []}
    for name, seen in times.items():
        net = getattr(model.denoiser.net, name)
        net.register_forward_pre_hook(lambda _, told, seen=seen: seen.append(float(told[1][0])))
    model.sample(prompt="a", before={"steps": 2, "before": {"steps": 2}})
    assert len(times["net"]) == 6
    assert times["last"] == [pytest.approx(0, abs=1e-6)]


def test_a_small_picture_is_enlarged_without_its_prompt(saved):
    model = perrin.load(saved("karlo")[1])
    first, other = (model.sample(1, image=picture(8, seed=i), steps=3, begin=None) for i in range(2))
    assert first.decoded[0].shape == (16, 16, 3)
    assert np.abs(first.decoded[0].astype(int) - other.decoded[0]).max() > 2
