"""Models of pixels and cascades: DeepFloyd-IF's stages and Stable Diffusion's upscaler, as their own pipelines draw them.

The pipelines take no noise, so that they are made to draw Perrin's. Their chain is DDPM's with learned variance: Perrin's
steps are those of a chain of which all steps are run. Over longer steps the pipelines are given a DDIM scheduler of their
scheduler's configuration.
"""

import shutil
import sys
from functools import partial

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from PIL import Image
from safetensors.torch import load_file, save_file
from tests.systems.latent import making_stages
from tests.systems.latent.comparing import NEGATIVE, PROMPTS, STEPS, chain_plan, picture
from tests.systems.latent.making_stages import LARGE, SHORT, SMALL

import perrin
from perrin.cli.entry import main
from perrin.errors import PerrinError
from perrin.sample import make_plan, run
from perrin.sample.running import prior
from perrin.systems.latent import enlarging
from perrin.systems.latent.thresholded import threshold

KEYS = [(0, 0), (0, 1)]
TEXTS = {"prompt": PROMPTS, "negative_prompt": [NEGATIVE] * 2, "output_type": "np"}
OF_PIXELS = {**TEXTS, "clean_caption": False}
OURS = {"prompt": PROMPTS, "negative": NEGATIVE}


def pixels(samples):
    return samples.codec.images(samples.state).movedim(1, -1).numpy()


def noise(size, channels=3):
    """Of samples 0 and 1 of seed 0."""
    return prior(KEYS, (channels, size, size), torch.float32, "cpu")


def low_noise(size):
    """On the small pictures of those samples."""
    seeds = [enlarging.seed_of(key, enlarging.LOW, "condition") for key in KEYS]
    return enlarging.normals(enlarging.seed_tensor(seeds), (3, size, size))


@pytest.fixture
def drawing(monkeypatch):
    """(pipeline, numbers): its next draws are these; `steps`: what Perrin has drawn within its steps, in order."""

    class Drawing:
        def __init__(self):
            self.steps = []

        def __call__(self, pipeline, *numbers):
            left = list(numbers)
            for made in (pipeline, pipeline.scheduler):
                name = type(made).__module__
                monkeypatch.setattr(
                    sys.modules[name], "randn_tensor", lambda *_, **__: left.pop(0), raising=False
                )

    found = Drawing()
    own = perrin.sample.ticking.normals

    def kept(*told):
        found.steps.append(own(*told))
        return found.steps[-1]

    monkeypatch.setattr(perrin.sample.ticking, "normals", kept)
    return found


def as_ddim(monkeypatch, pipeline):
    """The pipeline under DDIM, whose noise is that of the thresholded picture, as DDPM's is."""
    own = pipeline.scheduler
    made = DDIMScheduler.from_config(own.config, timestep_spacing="trailing")
    made.register_to_config(variance_type="fixed_small")  # by which the pipeline leaves the variances out
    made.step = partial(made.step, use_clipped_model_output=True)
    monkeypatch.setattr(pipeline, "scheduler", made)


def opened(saved, name):
    """Pipeline and model, whose variances are within their two ends, as those of trained networks mostly are."""
    pipeline, folder = saved(name)
    model = perrin.load(folder)
    for net in (pipeline.unet, model.denoiser.net.net):
        weight = net.conv_out.weight.data[3:]
        weight *= 0.03 / weight.std()
    return pipeline, model


def whole_chain(model):
    """The plan of every step of a short chain."""
    schedule = perrin.registry.schedules.build(model.design.parameterisation["schedule"])
    return make_plan("ddpm", grid=[*schedule.levels.flip(0).tolist(), float("inf")])


def test_the_first_stage_over_long_steps(saved, monkeypatch, drawing):
    pipeline, folder = saved("deepfloyd")
    model = perrin.load(folder)
    as_ddim(monkeypatch, pipeline)
    drawing(pipeline, noise(SMALL))
    expected = pipeline(**OF_PIXELS, num_inference_steps=STEPS, guidance_scale=7.0).images
    found = pixels(model.sample(2, **OURS, plan=chain_plan(model, pipeline), guidance=7.0))
    assert np.abs(found - expected).max() < 1e-3
    assert np.abs(found[0] - found[1]).max() > 0.05


def test_the_first_stage_by_its_own_chain(saved, drawing):
    pipeline, model = opened(saved, "deepfloyd_short")
    found = pixels(model.sample(2, **OURS, plan=whole_chain(model), guidance=7.0))
    drawing(pipeline, noise(SMALL), *drawing.steps)
    expected = pipeline(**OF_PIXELS, num_inference_steps=SHORT, guidance_scale=7.0).images
    assert len(drawing.steps) == SHORT - 1
    assert np.abs(found - expected).max() < 1e-3


@pytest.mark.parametrize("level", [None, 40])
def test_the_second_stage_by_its_own_chain(saved, drawing, level):
    pipeline, model = opened(saved, "deepfloyd_larger_short")
    small = [picture(SMALL, 1), picture(SMALL, 2)]
    found = pixels(
        model.sample(2, **OURS, image=small, noise_level=level, plan=whole_chain(model), guidance=4.0)
    )
    drawing(pipeline, noise(LARGE), low_noise(LARGE), *drawing.steps)
    told = {} if level is None else {"noise_level": level}
    expected = pipeline(
        **OF_PIXELS, image=small, num_inference_steps=SHORT, guidance_scale=4.0, **told
    ).images
    assert np.abs(found - expected).max() < 1e-3


def test_a_cascade(saved, drawing):
    first, base = opened(saved, "deepfloyd_short")
    second, model = opened(saved, "deepfloyd_larger_short")
    model = model.after(base)
    settings = {"plan": whole_chain(base).recipe(), "guidance": 7.0}
    found = model.sample(2, **OURS, before=settings, plan=whole_chain(model), guidance=4.0)
    steps = drawing.steps
    seed = enlarging.seed_of(0, "base", "before")
    start = prior([(seed, 0), (seed, 1)], (3, SMALL, SMALL), torch.float32, "cpu")
    drawing(first, start, *steps[: SHORT - 1])
    told = {**OF_PIXELS, "output_type": "pt"}
    small = first(**told, num_inference_steps=SHORT, guidance_scale=7.0).images
    drawing(second, noise(LARGE), low_noise(LARGE), *steps[SHORT - 1 :])
    expected = second(**OF_PIXELS, image=small, num_inference_steps=SHORT, guidance_scale=4.0).images
    assert np.abs(pixels(found) - expected).max() < 1e-3
    other_seed = base.sample(2, **OURS, seed=0, plan=whole_chain(base), guidance=7.0)
    assert float((base.codec.images(other_seed.state) * 2 - 1 - small).abs().max()) > 0.1


def test_the_upscaler(saved, drawing):
    pipeline, folder = saved("upscaler")
    model, small = perrin.load(folder), [picture(SMALL, 1), picture(SMALL, 2)]
    drawing(pipeline, low_noise(SMALL))
    expected = pipeline(
        **TEXTS,
        image=small,
        latents=noise(SMALL, 4),
        num_inference_steps=STEPS,
        guidance_scale=9.0,
        noise_level=30,
    ).images
    told = {**OURS, "image": small, "plan": chain_plan(model, pipeline), "guidance": 9.0}
    found = pixels(model.sample(2, **told, noise_level=30))
    assert found.shape == (2, 4 * SMALL, 4 * SMALL, 3)
    assert np.abs(found - expected).max() < 1e-3
    assert np.abs(pixels(model.sample(2, **told)) - expected).max() > 1e-2


def test_redrawing_pictures_in_pixels(saved, monkeypatch, drawing):
    pipeline, folder = saved("deepfloyd_of_pictures")
    model, drawn = perrin.load(folder), [picture(SMALL, 1), picture(SMALL, 2)]
    as_ddim(monkeypatch, pipeline)
    plan = chain_plan(model, pipeline)
    found = pixels(model.sample(2, **OURS, image=drawn, strength=0.5, plan=plan, guidance=7.0))
    drawing(pipeline, noise(SMALL))
    told = {"num_inference_steps": STEPS, "guidance_scale": 7.0, "strength": 0.5}
    expected = pipeline(**OF_PIXELS, image=drawn, **told).images
    assert np.abs(found - expected).max() < 1e-3


@pytest.mark.parametrize("step", [0, 1, 3, 7])
def test_the_learned_variance_is_that_of_the_chain(saved, step):
    """A step's draw is scaled by sqrt(beta~ + c^2 V), which is the scheduler's, at every output."""
    pipeline, folder = saved("deepfloyd_short")
    model = perrin.load(folder)
    scheduler, own = pipeline.scheduler, model.denoiser.parameterisation
    scheduler.set_timesteps(SHORT)
    output = torch.linspace(-0.999, 0.999, 5, dtype=torch.float64)
    schedule = perrin.registry.schedules.build(model.design.parameterisation["schedule"])
    level = schedule.level(torch.tensor([float(step)], dtype=torch.float64))
    found = own.variance(output[None], level)[0]
    assert bool((found.diff() > 0).all())
    if step == 0:  # whose step shows the mean
        return
    after = schedule.level(torch.tensor(float(step - 1), dtype=torch.float64))
    _, scale, deviation = (float(v) for v in perrin.process.gaussian.posterior(level[0], after))
    expected = torch.exp(scheduler._get_variance(step, predicted_variance=output))
    assert torch.allclose(deviation**2 + scale**2 * found, expected, rtol=1e-4)


def test_ddpm_draws_with_the_learned_variance(saved):
    _, model = opened(saved, "deepfloyd_short")
    told = {**OURS, "plan": whole_chain(model), "guidance": 7.0}
    before = model.sample(2, **told).state
    model.denoiser.net.net.conv_out.weight.data[3:] *= -1
    assert float((model.sample(2, **told).state - before).abs().max()) > 0.05


def test_thresholds_are_the_schedulers(saved):
    mean = 2 * torch.randn(3, 3, SMALL, SMALL, generator=torch.Generator().manual_seed(0))
    mean[0] /= 10  # within the range, which stays
    for quantile, highest in ((0.95, 1.5), (0.6, 9.0), (0.999, 1.0)):
        told = {"dynamic_thresholding_ratio": quantile, "sample_max_value": highest}
        own = making_stages.chain_of_pixels(**told)
        found = threshold(own.config)(None).clip(mean)
        assert torch.allclose(found, own._threshold_sample(mean), atol=1e-6)
    assert found[0].equal(mean[0])
    clipped = threshold({"clip_sample": True, "clip_sample_range": 2.0})(None)
    assert clipped.clip(mean).abs().max() == 2
    assert threshold({"clip_sample": False}) is None
    assert perrin.load(saved("upscaler")[1]).codec.steer is None


@pytest.fixture(scope="module")
def three(saved):
    """The first stage, the second after it, and the upscaler after both."""
    models = [perrin.load(saved(name)[1]) for name in ("deepfloyd", "deepfloyd_larger", "upscaler")]
    second = models[1].after(models[0])
    return models[0], second, models[2].after(second)


SETTINGS = {"steps": 2, "before": {"steps": 3, "solver": "ddim", "guidance": 2.0}}


def test_three_after_another_are_made_again_from_their_files(three, tmp_path):
    drawn = three[2].sample(2, **OURS, steps=2, seed=3, before=SETTINGS)
    assert drawn.state.shape == (2, 4, 32, 32)
    file = drawn.save(tmp_path / "out")[1]
    with Image.open(file) as made:
        assert made.size == (128, 128)
    assert main(["repro", str(file)]) == 0
    said = drawn.provenance[1]
    assert len(said["wanted"]["before"]["plan"]["grid"]) - 1 == 2
    assert len(said["wanted"]["before"]["before"]["plan"]["grid"]) - 1 == 3
    assert said["wanted"]["before"]["before"]["guidance"] == 2.0
    assert said["changes"][0]["changes"][0]["after"] == str(three[0].folder)


def test_a_changed_model_keeps_the_one_before(three):
    made = three[2].tiled(32)
    assert made.codec.before.model is three[1]
    told = {"prompt": "a", "steps": 1, "before": {"steps": 1, "before": {"steps": 1}}}
    assert made.sample(1, **told).state.equal(three[2].sample(1, **told).state)


def test_the_command_draws_a_cascade(three, saved, tmp_path):
    told = [
        "sample",
        str(three[0].folder),
        "-n",
        "1",
        "--prompt",
        "a",
        "--steps",
        "1",
        "--out",
        str(tmp_path / "out"),
    ]
    for name in ("deepfloyd_larger", "upscaler"):
        told += ["--upscaler", str(saved(name)[1])]
    assert main([*told, "--before", "steps=2", "--before", "before.steps=1"]) == 0
    file = next((tmp_path / "out").glob("0*.png"))
    with Image.open(file) as made:
        assert made.size == (128, 128)
    assert main(["repro", str(file), "--json"]) == 0


def test_a_later_stage_may_be_without_a_text_encoder(three, tmp_path):
    place = tmp_path / "folder"
    shutil.copytree(three[1].folder, place)
    shutil.rmtree(place / "text_encoder")
    alone = perrin.load(place)
    with pytest.raises(
        PerrinError, match=r"has no text encoder: put a stage that has one before it, after\(BASE\)"
    ):
        alone.sample(1, prompt="a", image=picture(SMALL))
    told = {**OURS, "steps": 1, "before": {"steps": 1}}
    found, expected = alone.after(three[0]).sample(2, **told), three[1].sample(2, **told)
    words = three[0].codec.text(PROMPTS)["prompt"]  # of the first stage's encoder, in this folder as large
    assert found.condition["prompt"].equal(words)
    assert found.condition["low"].equal(expected.condition["low"])
    assert alone.codec.text.before is None


def test_holes_in_pixels_are_filled_and_the_rest_is_kept(saved):
    model, hole = perrin.load(saved("deepfloyd")[1]), np.zeros((SMALL, SMALL), bool)
    hole[:4, 2:] = True
    drawn = model.sample(1, prompt="a", image=picture(SMALL), mask=hole, steps=3, guidance=7.0)
    apart = np.abs(drawn.decoded[0].astype(int) - np.array(picture(SMALL)))
    assert apart[~hole].max() <= 1
    assert apart[hole].max() > 20


def test_a_base_that_is_another_one_now_is_refused(three, saved, tmp_path):
    place = tmp_path / "base"
    shutil.copytree(three[0].folder, place)
    model = perrin.load(saved("deepfloyd_larger")[1]).after(perrin.load(place))
    (file,) = model.sample(1, prompt="a", steps=1, before={"steps": 1}).save(tmp_path / "one.png")
    shutil.rmtree(place)
    shutil.copytree(saved("deepfloyd_of_pictures")[1], place)
    weights = load_file(place / "unet" / "diffusion_pytorch_model.safetensors")
    weights["conv_in.bias"] += 1
    save_file(weights, place / "unet" / "diffusion_pytorch_model.safetensors", {"format": "pt"})
    with pytest.raises(PerrinError, match="with which the samples were drawn"):
        perrin.reproduction.reproduce(file)


def test_a_sample_alone_is_the_same_among_others(three):
    told = {"steps": 2, "seed": 5, "before": SETTINGS}
    prompts = ["a cube", "two green cones", "x"]
    many = three[2].sample(3, prompt=prompts, **told)
    for i in (0, 2):
        alone = three[2].sample(1, prompt=prompts[i], first=i, **told)
        assert float((alone.state[0] - many.state[i]).abs().max()) < 1e-4 * float(many.state[i].std())
    other = three[2].sample(1, prompt="x", first=2, **{**told, "seed": 6})
    assert float((other.condition["low"] - many.condition["low"][2:]).abs().max()) > 0.1


def test_the_noise_on_a_small_picture_is_a_function_of_seed_and_index(saved):
    codec = perrin.load(saved("deepfloyd_larger")[1]).codec
    told = {"prompt": "a", "image": picture(SMALL)}
    low = codec.outline(3, 7, 0, **told).condition["low"]
    assert codec.outline(1, 7, 2, **told).condition["low"].equal(low[2:])
    assert codec.outline(2, [7, 7], 1, **told).condition["low"].equal(low[[1, 1]])
    without = codec.outline(1, 7, 0, **told, noise_level=0).condition["low"]
    clean = torch.from_numpy(np.array(picture(SMALL))).movedim(-1, 0) / 127.5 - 1
    corners = without[0][:, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert float((corners - clean[:, [0, 0, -1, -1], [0, -1, 0, -1]]).abs().max()) < 0.05
    assert 0.8 < float((low[0] - low[1]).std() / (2**0.5 * 0.41)) < 1.2  # sigma of time 250


def test_sizes_follow_the_scale(three):
    told = {"prompt": "a", "steps": 1, "before": {"steps": 1, "before": {"steps": 1}}}
    assert three[2].sample(1, **told, height=256, width=128).decoded[0].shape == (256, 128, 3)
    assert three[1].sample(1, prompt="a", steps=1, image=picture(12)).decoded[0].shape == (48, 48, 3)
    with pytest.raises(PerrinError, match="height = 100 is not a multiple of 32; the nearest is 96"):
        three[2].sample(1, **told, height=100)
    with pytest.raises(PerrinError, match="height = 30 is not a multiple of 8; the nearest is 32"):
        three[1].sample(1, prompt="a", height=30)


def test_any_model_of_pictures_may_come_first(saved, tmp_path):
    base = perrin.load(saved("ddpm")[1])
    model = perrin.load(saved("upscaler")[1]).after(base)
    drawn = model.sample(2, prompt=PROMPTS, steps=1, before={"steps": 2})
    assert drawn.decoded[0].shape == (32, 32, 3)
    classes = perrin.load(saved("upscaler")[1]).after(perrin.load(saved("dit")[1]))
    drawn = classes.sample(2, prompt="a", label=[3, 7], steps=1, before={"steps": 1})
    assert [made["wanted"]["label"] for made in drawn.provenance] == [3, 7]
    (file, *_) = drawn.save(tmp_path / "out")
    again = perrin.reproduction.reproduce(file)
    assert again.largest_difference <= again.tolerance
    with pytest.raises(PerrinError, match="knows texts, no classes"):
        model.sample(2, prompt="a", label=3)
    assert model.hash == perrin.load(saved("upscaler")[1]).hash
    assert perrin.load(saved("upscaler")[1]).codec.before is None


@pytest.mark.parametrize(
    ("name", "wanted", "said"),
    [
        ("deepfloyd_larger", {}, r"give image, or put the model that draws them before it, after\(BASE\)"),
        ("upscaler", {}, r"give image, or put the model that draws them before it, after\(BASE\)"),
        ("upscaler", {"image": picture(SMALL), "noise_level": 400}, "whole number from 0 to 350"),
        (
            "upscaler",
            {"image": picture(SMALL), "noise_level": 1.5},
            "noise_level = 1.5 must be a whole number",
        ),
        ("upscaler", {"image": picture(SMALL), "strength": 0.5}, "strength is for an image to begin at"),
        ("upscaler", {"image": torch.zeros(4, 8, 8)}, "needed as pixels, not as latents"),
        ("upscaler", {"image": picture(SMALL), "before": {"steps": 2}}, "none does"),
        ("upscaler", {"image": picture(SMALL), "mask": picture(SMALL)}, "mask is of an image"),
        ("upscaler", {"image": picture(7)}, "height = 28 is not a multiple of 8; the nearest is 32"),
        ("deepfloyd", {"noise_level": 3}, "noise_level is for models that enlarge or vary"),
        ("deepfloyd", {"before": {"steps": 3}}, "none does: after"),
    ],
)
def test_what_is_lacking_or_of_no_use(saved, name, wanted, said):
    with pytest.raises(PerrinError, match=said):
        perrin.load(saved(name)[1]).sample(1, prompt="a", steps=1, **wanted)


def test_models_that_do_not_fit_after_another(three, saved, tmp_path):
    first, second, _ = three
    large = perrin.load(saved("deepfloyd_larger")[1])
    with pytest.raises(PerrinError, match="32 x 32 pixels does not fit before one that draws 32 x 32"):
        large.after(large)
    with pytest.raises(PerrinError, match="enlarges no pictures"):
        first.after(first)
    with pytest.raises(PerrinError, match=r"comes after .* already"):
        second.after(first)
    with pytest.raises(PerrinError, match=r"setting of the base 'step' is not known; did you mean 'steps'"):
        second.sample(1, prompt="a", before={"step": 2})
    with pytest.raises(PerrinError, match="must name settings of the base"):
        second.sample(1, prompt="a", before=3)
    with pytest.raises(PerrinError, match="draws pixels"):
        first.tiled(16)
    with pytest.raises(PerrinError, match="as seamless as those"):
        second.seamless()
    place = tmp_path / "folder"
    shutil.copytree(second.folder, place)
    index = (place / "model_index.json").read_text().replace("IFSuperResolutionPipeline", "IFPipeline")
    (place / "model_index.json").write_text(index)
    with pytest.raises(PerrinError, match="takes 6 channels; IFPipeline is for 3"):
        perrin.load(place)


def test_seamless_pixels(saved):
    model = perrin.load(saved("deepfloyd")[1]).seamless()
    told = model.codec.outline(1, 0, 0, prompt="a cube").condition
    start = torch.randn(1, 3, SMALL, SMALL, generator=torch.Generator().manual_seed(2))
    ways = [run(model.plan("ddim", 3), model.guided(3.0), seeds=[0], start=x, condition=told)
            for x in (start, start.roll((2, 4), (2, 3)))]  # fmt: skip
    assert float((ways[0].roll((2, 4), (2, 3)) - ways[1]).abs().max()) < 1e-4 * float(ways[0].abs().max())
