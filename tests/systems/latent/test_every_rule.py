"""Every rule of the registry, every option of guidance and every verb of a model, on pretrained folders of each kind."""

from dataclasses import replace

import pytest
import torch

import perrin
from perrin.errors import PerrinError
from perrin.registry import rules, schedules
from perrin.sample import make_plan

KINDS = {
    "ddpm": {},
    "dit": {"label": "none"},
    "stable_diffusion": {"prompt": "a cube"},
    "stable_diffusion_v": {"prompt": "a cube"},
    "stable_diffusion_3": {"prompt": "a cube"},
    "deepfloyd": {"prompt": "a cube"},
    "stable_unclip": {"prompt": "a cube", "before": {"steps": 1}},
}
"""A folder, and what its pictures are told."""
GUIDED = [name for name in KINDS if name != "ddpm"]
DISTILLED = ("consistency",)


@pytest.fixture(scope="module")
def opened(saved):
    """name -> model, opened once."""
    made = {}

    def get(name):
        if name not in made:
            made[name] = perrin.load(saved(name)[1])
        return made[name]

    return get


def drawn(model, name, **asked):
    """States of a sample with guidance where there is anything to guide towards."""
    told = {**KINDS[name], **({"label": 3} if name == "dit" else {})}
    return model.sample(1, **{"steps": 2, "seed": 3, **told, **asked}).state


@pytest.mark.parametrize("rule", list(rules))
def test_every_rule_draws_from_every_kind_of_folder(opened, rule):
    for name in KINDS:
        model = opened(name)
        found = model.sample(2, steps=2, solver=rule, **KINDS[name])
        assert found.state.shape == (2, *model.codec.shape), name
        assert torch.isfinite(found.state).all(), name
        assert not torch.equal(*found.state), name
        assert all(rules[made["plan"]["rule"]] is rules[rule] for made in found.provenance), name


@pytest.mark.parametrize(
    "rule",
    [
        name
        for name in rules
        if not rules[name].stochastic and rules[name].exact_on_point_mass and rules[name].order > 1
    ],
)
def test_a_rule_ends_where_many_steps_of_another_do(opened, rule):
    """At 32 steps from a finite level, within 3 % of what dpmpp_2m gives with 96."""
    model = opened("stable_diffusion_3")
    schedule = schedules.build(model.sampling.schedule)
    ends = [
        drawn(
            model,
            "stable_diffusion_3",
            guidance=1.0,
            steps=None,
            plan=make_plan(of, schedule, steps=n, grid="logsnr"),
        )
        for of, n in ((rule, 32), ("dpmpp_2m", 96))
    ]
    assert float((ends[0] - ends[1]).norm() / ends[1].norm()) < 0.03


@pytest.mark.parametrize("name", GUIDED)
def test_options_of_guidance(opened, saved, name):
    model, w = opened(name), {"guidance": 4.0}
    plain, unguided = drawn(model, name, **w), drawn(model, name, guidance=1.0)
    assert torch.equal(drawn(model, name, interval=(90, 91), **w), unguided)
    assert torch.equal(drawn(model, name, interval=(-float("inf"), float("inf")), **w), plain)
    for option in ({"rescale": 0.7}, {"projected": True}, {"projected": {"eta": 0.5, "threshold": 1.0}}):
        changed = drawn(model, name, **option, **w)
        assert torch.isfinite(changed).all()
        assert not torch.allclose(changed, plain)
        assert torch.equal(drawn(model, name, **option, guidance=1.0), unguided)
    folder = saved(name)[1]
    for place in (folder, str(folder), model):  # away from itself is nowhere
        assert torch.allclose(drawn(model, name, weaker=place, **w), unguided, atol=1e-4)


def test_away_from_a_weaker_folder(opened, saved, tmp_path):
    name, model = "stable_diffusion", opened("stable_diffusion")
    worse = perrin.load(model.save(tmp_path / "worse"))
    with torch.no_grad():
        for value in worse.module.net.parameters():
            value.mul_(0.9)
    plain = drawn(model, name, guidance=1.0)
    found = drawn(model, name, weaker=worse, guidance=3.0)
    assert torch.isfinite(found).all()
    assert not torch.allclose(found, plain)
    for other, said in (
        ("stable_diffusion_3", "its texts are encoded otherwise"),
        ("ddpm", "its texts are encoded otherwise"),
        ("dit", "its texts are encoded otherwise"),
    ):
        with pytest.raises(PerrinError, match=said):
            drawn(model, name, weaker=saved(other)[1], guidance=3.0)
    with pytest.raises(PerrinError, match="of other states or classes"):
        drawn(opened("ddpm"), "ddpm", weaker=saved("dit")[1], guidance=3.0)
    weights = saved(name)[1] / "unet" / "diffusion_pytorch_model.safetensors"
    with pytest.raises(PerrinError, match="is a folder in the layout of diffusers"):
        drawn(model, name, weaker=weights, guidance=3.0)
    with pytest.raises(PerrinError, match=r"it has no model\.json"):
        drawn(model, name, weaker=tmp_path, guidance=3.0)


@pytest.mark.slow
def test_flux_is_guided_away_from_a_weaker_folder_by_its_true_guidance(saved):
    model, folder = perrin.load(saved("flux")[1]), saved("flux")[1]
    told = {"prompt": "a", "steps": 1, "height": 32, "width": 32}
    plain = model.sample(1, **told).state
    assert torch.allclose(model.sample(1, weaker=folder, true_guidance=3.0, **told).state, plain, atol=1e-4)
    with pytest.raises(PerrinError, match="or a weaker model in the prompt's place"):
        model.sample(1, weaker=folder, **told)


@pytest.mark.parametrize("name", list(KINDS))
def test_an_energy_pulls_samples_where_it_is_low(opened, name):
    model = opened(name)
    plan = make_plan("ddim", schedules.build(model.sampling.schedule), steps=4, grid="logsnr")

    def bright(x):
        return -2.0 * x.sum((1, 2, 3)) / x[0].numel() ** 0.5

    base, pulled = (
        drawn(model, name, steps=None, plan=plan, guidance=1.0, energy=energy) for energy in (None, bright)
    )
    assert float((pulled - base).mean()) > 0


def test_an_energy_at_no_signal_says_where_to_begin(opened):
    with pytest.raises(PerrinError, match="start at a finite level"):
        drawn(opened("stable_diffusion_3"), "stable_diffusion_3", energy=lambda x: x.sum((1, 2, 3)))


@pytest.mark.parametrize("name", ["ddpm", "dit", "stable_diffusion_3"])
def test_codes_lead_back_to_the_states(opened, name):
    model, told = opened(name), KINDS[name]
    told = {
        **told,
        "steps": 24,
        "level_range": (0.0, 6.0),
    }  # further out networks with random weights are stiff
    states = 0.5 * torch.randn(2, *model.codec.shape, generator=torch.Generator().manual_seed(1))
    codes = model.encode(states, **told)
    again = model.decode(codes.state, **told).state
    assert float((again - states).abs().max()) < 0.05 < 0.2 < float((codes.state - states).abs().mean())


def test_the_flow_of_a_model_of_texts_is_under_a_prompt(opened):
    model = opened("stable_diffusion_3")
    pictures = model.codec.decode(torch.zeros(2, 4, 8, 8))
    one, two = (model.encode(pictures, prompt=text, steps=4).state for text in ("a", ["a", "b c d e f"]))
    assert torch.allclose(one[0], two[0], atol=1e-5)
    assert not torch.allclose(one[1], two[1], atol=1e-5)
    for options, said in (
        ({}, "draws what a prompt says; give one"),
        ({"prompt": "a", "label": 1}, "this model knows texts, no classes"),
        ({"prompt": ["a"]}, "1 prompts for 2 samples"),
    ):
        with pytest.raises(PerrinError, match=said):
            model.encode(pictures, **options)
    with pytest.raises(PerrinError, match="encode and decode are not offered"):
        opened("stable_unclip").encode(torch.zeros(1, 4, 8, 8), prompt="a")


def test_likelihoods_are_of_pixels_without_texts(opened):
    model = opened("ddpm")
    pictures = model.codec.decode(torch.zeros(2, 3, 8, 8))
    found = model.log_prob(pictures, method="bound", samples=2)
    assert found.value.shape == (2,)
    assert {"prior", "diffusion", "reconstruction"} <= set(found.parts)
    for name in GUIDED:
        said = "a likelihood under prompts" if name == "deepfloyd" else "latents lose details"
        for method in ("ode", "bound"):
            with pytest.raises(PerrinError, match=said):
                opened(name).log_prob(pictures, method=method)  # of a size that is not even the model's


@pytest.mark.parametrize("name", list(KINDS))
def test_what_is_not_for_pictures_is_refused_by_name(opened, name):
    for option in ({"length": 3}, {"known": torch.zeros(3)}, {"temperature": 0.5}, {"top_p": 0.5}):
        with pytest.raises(PerrinError, match=f"{next(iter(option))} is for models of tokens alone"):
            drawn(opened(name), name, **option)
    with pytest.raises(PerrinError, match=r"a unet of Perrin's own .* leave reuse out"):
        drawn(opened(name), name, reuse=2)


def test_plans_of_every_grid(opened):
    for name in KINDS:
        model = opened(name)
        own = model.plan(steps=3)
        assert own.nfe == 3
        assert torch.equal(
            drawn(model, name, steps=3), drawn(model, name, steps=None, plan=replace(own, fitted=None))
        )
