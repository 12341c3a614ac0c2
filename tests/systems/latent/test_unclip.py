"""unCLIP: the embedding that a prior draws, pictures from it, and variations of pictures, as the pipelines make them."""

import json
import shutil
import sys

import numpy as np
import pytest
import torch
from diffusers import UnCLIPScheduler
from tests.systems.latent import making_unclip
from tests.systems.latent.comparing import ALIKE, NEGATIVE, NOISE, PROMPTS, STEPS, chain_plan, ours, picture
from transformers import CLIPImageProcessor

import perrin
from perrin.cli.entry import main
from perrin.errors import PerrinError
from perrin.kinds.provenance import read_provenance
from perrin.process.state import single
from perrin.sample import make_plan
from perrin.sample.noise import normals, seed_of, seed_tensor
from perrin.sample.running import prior
from perrin.systems.latent.given import given
from perrin.systems.latent.noised_embeddings import Noising
from perrin.systems.latent.seeing import ImageEncoder

WIDTH = making_unclip.WIDTH
BEFORE = seed_of(0, "prior", "before")
KEYS = [(0, 0), (0, 1)]


def prior_plan(model, scheduler, rule="ddim", steps=STEPS):
    """A rule on the levels that the prior's scheduler visits."""
    scheduler.set_timesteps(steps)
    schedule = perrin.registry.schedules.build(model.codec.before.model.design.parameterisation["schedule"])
    return make_plan(rule, grid=[*schedule.level(scheduler.timesteps.double()).tolist(), float("inf")])


def drawn_from(monkeypatch, pipeline):
    """Make a pipeline put the noise of our samples 0 and 1 of seed 0 on embeddings; returns the embeddings it had."""
    seen = []
    whole = pipeline.noise_image_embeddings

    def noised(image_embeds, noise_level, generator):
        seen.append(image_embeds)
        noise = normals(seed_tensor([seed_of(key, "embedding", "noise") for key in KEYS]), (WIDTH,))
        return whole(image_embeds, noise_level, noise=noise[: len(image_embeds)])

    monkeypatch.setattr(pipeline, "noise_image_embeddings", noised)
    return seen


def path_noise(plan):
    """The draws of a plan's rows for the prior's samples 0 and 1, in their order."""
    keys = [(BEFORE, i) for i in range(2)]
    draws = [draw for row in plan.rows for draw in row.draws]
    names = [[seed_of(k, "", d.stream, d.start, d.stop, d.visit) for k in keys] for d in draws]
    return [normals(seed_tensor(seeds), (WIDTH,)) for seeds in names]


def embeddings(model, plan, guidance=4.0):
    """What the prior draws for the prompts."""
    drawn = model.codec.before.draw(2, 0, 0, {"plan": plan, "guidance": guidance}, prompt=PROMPTS)
    return np.stack(drawn.decoded)


def reference(pipeline, **options):
    start = single(prior([(BEFORE, i) for i in range(2)], (WIDTH,), torch.float32, "cpu"))
    return pipeline(
        PROMPTS, prior_latents=start, prior_num_inference_steps=STEPS, latents=NOISE, height=16, width=16,
        **{**ALIKE, **options},
    ).images  # fmt: skip


def error(found, expected):
    return np.abs(found - expected).max() / np.abs(expected).max()


@pytest.mark.parametrize(("guidance", "level", "negative"), [(1.0, 0, None), (4.0, 400, [NEGATIVE] * 2)])
def test_text_to_image_through_the_prior(saved, monkeypatch, guidance, level, negative):
    """With DDIM in the place of the prior's own chain, as users of the pipeline may have it: nothing is drawn by it."""
    pipeline, folder = saved("stable_unclip")
    model = perrin.load(folder)
    plan = prior_plan(model, pipeline.prior_scheduler)
    seen = drawn_from(monkeypatch, pipeline)
    expected = reference(pipeline, noise_level=level, prior_guidance_scale=guidance, negative_prompt=negative)
    assert error(embeddings(model, plan, guidance), seen[0].numpy()) < 1e-4
    wanted = {"prompt": PROMPTS, "negative": negative, "noise_level": level}
    before = {"plan": plan, "guidance": guidance}
    found = ours(model, NOISE, chain_plan(model, pipeline), 5.0, before=before, **wanted)
    assert np.abs(found - expected).max() < 1e-3
    assert np.abs(found[0] - found[1]).max() > 0.05
    other = ours(model, NOISE, chain_plan(model, pipeline), 5.0, before={**before, "guidance": 2.0}, **wanted)
    assert np.abs(found - other).max() > 5e-3


def test_the_prior_by_its_own_chain(saved, monkeypatch):
    """DDPM at the same noise on every step, with predictions that its bound cuts."""
    pipeline, folder = saved("stable_unclip_by_chance")
    model = perrin.load(folder)
    plan = prior_plan(model, pipeline.prior_scheduler, "ddpm")
    noise = iter([*path_noise(plan), torch.zeros(2, WIDTH)])
    place = sys.modules[type(pipeline.prior_scheduler).__module__]
    monkeypatch.setattr(place, "randn_tensor", lambda *_, **__: next(noise))
    seen = drawn_from(monkeypatch, pipeline)
    reference(pipeline)
    assert error(embeddings(model, plan), seen[0].numpy()) < 1e-4
    codec = model.codec.before.model.codec
    unbound = model.codec.before.model.guided(4.0)
    outline = codec.outline(2, 0, 0, prompt=PROMPTS)
    x = single(prior(KEYS, (WIDTH,), torch.float32, "cpu"))
    level = torch.full((2,), plan.levels[1], dtype=torch.float64)
    assert single(unbound(x, level, outline.condition).mean).abs().max() > 1.05


def test_the_priors_own_scheduler_says_less_and_means_the_same(saved, tmp_path):
    """UnCLIPScheduler has one table alone, which older folders do not name."""
    folder = shutil.copytree(saved("stable_unclip")[1], tmp_path / "model")
    UnCLIPScheduler(prediction_type="sample", clip_sample_range=5.0).save_pretrained(
        folder / "prior_scheduler"
    )
    place = folder / "prior_scheduler" / "scheduler_config.json"
    said = json.loads(place.read_text())
    place.write_text(json.dumps({name: value for name, value in said.items() if name != "beta_schedule"}))
    found, other = (perrin.load(place) for place in (folder, saved("stable_unclip")[1]))
    told = {"steps": 2, "prompt": "a", "before": {"steps": 3, "solver": "ddpm"}}
    assert torch.equal(found.sample(**told).state, other.sample(**told).state)


@pytest.mark.parametrize(("prompt", "negative", "level"), [(None, None, 0), (PROMPTS, NEGATIVE, 250)])
def test_variations(saved, monkeypatch, prompt, negative, level):
    pipeline, folder = saved("stable_unclip_variations")
    model = perrin.load(folder)
    drawn_from(monkeypatch, pipeline)
    pictures = [picture(30, seed=1), picture(24, seed=2)]
    expected = pipeline(
        pictures, prompt=prompt, negative_prompt=None if negative is None else [negative] * 2, latents=NOISE,
        noise_level=level, height=16, width=16, **ALIKE,
    ).images  # fmt: skip
    wanted = {"variation_of": pictures, "prompt": prompt, "negative": negative, "noise_level": level}
    plan = chain_plan(model, pipeline)
    found = ours(model, NOISE, plan, 5.0, **wanted)
    assert np.abs(found - expected).max() < 1e-3
    other = ours(model, NOISE, plan, 5.0, **{**wanted, "variation_of": pictures[::-1]})
    assert np.abs(found - other).max() > 5e-3


def test_variations_without_texts(saved):
    pipeline, folder = saved("image_variations")
    model = perrin.load(folder)
    pictures = [picture(30, seed=1), picture(24, seed=2)]
    expected = pipeline(pictures, latents=NOISE, height=16, width=16, **ALIKE).images
    found = ours(model, NOISE, chain_plan(model, pipeline), 5.0, variation_of=pictures)
    assert np.abs(found - expected).max() < 1e-3
    assert np.abs(found[0] - found[1]).max() > 0.05


@pytest.mark.parametrize(
    "options",
    [
        {"size": {"shortest_edge": 20}, "crop_size": {"height": 16, "width": 18}},
        {"size": {"height": 14, "width": 9}, "do_center_crop": False, "resample": 2},
        {"do_resize": False, "crop_size": {"height": 40, "width": 12}, "do_normalize": False},
    ],
)
def test_pictures_are_prepared_as_their_folder_says(options):
    image = picture(30).crop((0, 0, 30, 23))
    made = CLIPImageProcessor(**options)
    expected = made(images=image, return_tensors="np").pixel_values[0]
    found = ImageEncoder(None, made.to_dict())._pixels(given(image, "picture"))
    assert np.abs(found.numpy() - expected).max() < 1e-5


def test_noise_on_an_embedding_is_a_function_of_its_sample_and_its_level_is_told():
    mean, std = torch.linspace(-1, 1, 4), torch.linspace(1, 2, 4)
    noising = Noising(mean, std, [1.0, 0.25, 0.0])
    both = noising(torch.stack([mean, mean + std]), [(3, 0), (3, 5)], 1)
    alone = noising((mean + std)[None], [(3, 5)], 1)
    assert torch.equal(both[1], alone[0])
    noise = normals(seed_tensor([seed_of((3, 5), "embedding", "noise")]), (4,))
    assert torch.allclose(alone[0, :4], mean + std * (0.5 + 0.75**0.5 * noise[0]), atol=1e-6)
    assert torch.allclose(
        alone[0, 4:], torch.tensor([np.cos(1), np.cos(0.01), np.sin(1), np.sin(0.01)]).float()
    )
    assert torch.equal(noising(mean[None] + 3, [(0, 0)], 0)[:, :4], mean[None] + 3)


def test_a_sample_alone_is_the_same_among_others(saved):
    model = perrin.load(saved("stable_unclip")[1])
    prompts = ["a", "a much longer prompt of two green cones", "c"]
    many = model.sample(3, prompt=prompts, steps=3, seed=5, before={"steps": 3}, noise_level=100)
    for i in range(3):
        alone = model.sample(
            1, prompt=prompts[i], steps=3, seed=5, first=i, before={"steps": 3}, noise_level=100
        )
        assert float((alone.state[0] - many.state[i]).abs().max()) < 1e-4 * float(many.state[i].std())


@pytest.mark.parametrize(
    ("name", "wanted", "said"),
    [
        ("stable_unclip_variations", {}, "draws variations of a picture: give variation_of"),
        ("stable_unclip_variations", {"prompt": "a"}, "give variation_of"),
        ("stable_unclip_variations", {"variation_of": picture(), "prompt": " "}, "the prompt is empty"),
        ("stable_unclip_variations", {"variation_of": "none.png"}, "the variation_of none.png cannot be read"),
        ("stable_unclip_variations", {"variation_of": torch.zeros(4, 8, 8)}, "a picture of pixels"),
        ("stable_unclip_variations", {"variation_of": picture(), "noise_level": 1000}, "whole number from 0 to 999"),
        ("stable_unclip_variations", {"variation_of": picture(), "noise_level": -1}, "whole number from 0 to 999"),
        ("stable_unclip_variations", {"variation_of": picture(), "before": {"steps": 2}}, "before"),
        ("image_variations", {"variation_of": picture(), "prompt": "a"}, "knows no texts"),
        ("image_variations", {"variation_of": picture(), "noise_level": 0}, "has no noise_level"),
        ("stable_unclip", {"prompt": "a", "variation_of": picture()}, "no image encoder"),
        ("stable_unclip", {}, "give one"),
        ("stable_unclip", {"prompt": "a", "before": {"step": 2}}, "did you mean 'steps'"),
        ("stable_unclip", {"prompt": "a", "noise_level": 0.5}, "whole number from 0 to 999"),
    ],
)  # fmt: skip
def test_what_a_model_cannot_be_told(saved, name, wanted, said):
    with pytest.raises(PerrinError, match=said):
        perrin.load(saved(name)[1]).sample(2, steps=2, **wanted)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("stable_unclip", "prior"),
        ("stable_unclip", "prior_text_encoder"),
        ("stable_unclip", "image_normalizer"),
        ("stable_unclip_variations", "image_encoder"),
        ("stable_unclip_variations", "feature_extractor"),
        ("image_variations", "image_encoder"),
        ("karlo", "text_proj"),
        ("karlo", "super_res_last"),
    ],
)
def test_missing_parts_are_named(saved, monkeypatch, name, part):
    folder = saved(name)[1]
    (folder / part).rename(folder / "elsewhere")
    try:
        with pytest.raises(PerrinError, match=f"lacks its {part}"):
            perrin.load(folder)
    finally:
        (folder / "elsewhere").rename(folder / part)


def test_the_command_draws_from_a_prompt_and_makes_it_again(saved, tmp_path):
    told = ["sample", str(saved("stable_unclip")[1]), "-n", "1", "--prompt", "a", "--steps", "3"]
    told += ["--before", "steps=4", "--before", "guidance=3", "--noise-level", "5"]
    assert main([*told, "--out", str(tmp_path)]) == 0
    made = next(tmp_path.glob("0*.png"))
    said = read_provenance(made)["wanted"]
    assert (len(said["before"]["plan"]["grid"]), said["before"]["guidance"], said["noise_level"]) == (
        5,
        3.0,
        5,
    )
    assert main(["repro", str(made)]) == 0


def test_a_variation_is_made_again_from_its_picture(saved, tmp_path, capsys):
    picture(30).save(tmp_path / "photo.png")
    told = [
        "sample",
        str(saved("stable_unclip_variations")[1]),
        "-n",
        "1",
        "--steps",
        "3",
        "--noise-level",
        "30",
    ]
    told += ["--variation-of", str(tmp_path / "photo.png"), "--out", str(tmp_path / "out")]
    assert main(told) == 0
    made = next((tmp_path / "out").glob("0*.png"))
    assert main(["repro", str(made)]) == 0
    assert "identical" in capsys.readouterr().out
    picture(30, seed=1).save(tmp_path / "photo.png")
    assert main(["repro", str(made)]) != 0
    assert "no longer the variation_of" in capsys.readouterr().err


def test_a_changed_model_leaves_the_other_and_its_prior_as_they_were(saved):
    model = perrin.load(saved("stable_unclip")[1])
    told = {"prompt": "a", "steps": 2, "before": {"steps": 2}}
    plain = model.sample(**told).state
    other = model.seamless()
    assert float((other.sample(**told).state - plain).abs().max()) > 1e-3
    assert torch.equal(model.sample(**told).state, plain)
    assert other.codec.before.model is model.codec.before.model


@pytest.mark.parametrize("name", ["stable_unclip", "stable_unclip_variations"])
def test_weights_that_visit_the_device_draw_the_same(saved, name):
    folder = saved(name)[1]
    told = {"prompt": "a", "steps": 2} | ({"variation_of": picture()} if "variations" in name else {})
    whole, visiting = (perrin.load(folder, offload=way).sample(**told).state for way in ("none", "parts"))
    assert float((whole - visiting).abs().max()) < 1e-4 * float(whole.std())


def test_an_upscaler_enlarges_variations(saved, tmp_path):
    base = perrin.load(saved("stable_unclip_variations")[1])
    model = perrin.load(saved("upscaler")[1]).after(base)
    picture(30).save(tmp_path / "photo.png")
    told = {"prompt": "a", "steps": 2, "before": {"steps": 2}}
    drawn = model.sample(variation_of=tmp_path / "photo.png", **told)
    assert drawn.decoded[0].shape == (64, 64, 3)
    other = model.sample(variation_of=picture(30, seed=1), **told)
    assert np.abs(drawn.decoded[0].astype(int) - other.decoded[0]).max() > 2
    assert main(["repro", str(drawn.save(tmp_path / "out")[0])]) == 0
