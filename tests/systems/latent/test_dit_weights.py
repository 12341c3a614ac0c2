"""DiTs of diffusers and of the original code in Perrin's own network: the same outputs, there and back."""

import math

import pytest
import torch
from diffusers import DiTTransformer2DModel
from safetensors.torch import save_file
from tests.systems.latent import making
from tests.systems.latent.comparing import STEPS, chain_plan

import perrin
from perrin.errors import PerrinError
from perrin.model import Model
from perrin.nets.positions import sines
from perrin.sample import run
from perrin.systems.latent.exporting.fine_tuning import write_model
from perrin.systems.latent.exporting.importing import imported

STEPS_TOLD = torch.tensor([0.0, 10.0, 500.0, 999.0])
LABELS = torch.tensor([3, -1, 9, 500])


def latents():
    return torch.randn(4, 4, 8, 8, generator=torch.Generator().manual_seed(5))


def one_embedding(net):
    """As published weights are: every block has the same embedding of step and class."""
    first = net.transformer_blocks[0].norm1.emb.state_dict()
    for block in net.transformer_blocks:
        block.norm1.emb.load_state_dict(first)


@pytest.fixture(scope="module", params=["own", "shared"])
def folder(request, tmp_path_factory):
    """(pipeline, its folder), with an embedding for each block or one for all."""
    pipeline = making.seeded(making.dit)
    if request.param == "shared":
        one_embedding(pipeline.transformer)
    place = tmp_path_factory.mktemp(request.param) / "dit"
    pipeline.save_pretrained(place)
    return pipeline, place, request.param


@torch.no_grad()
def both(net, model):
    """What the two networks say: the whole output, variances too."""
    none = net.config.num_embeds_ada_norm
    theirs = net(latents(), timestep=STEPS_TOLD, class_labels=torch.where(LABELS < 0, none, LABELS)).sample
    return theirs, model.module.net(latents(), STEPS_TOLD, {"label": LABELS})


def test_an_imported_dit_is_the_same_function(folder):
    pipeline, place, embeddings = folder
    model = imported(place)
    theirs, own = both(pipeline.transformer, model)
    assert float((theirs - own).abs().max()) < 1e-5
    assert float(own[:, :4].std()) > 0.1
    assert own.shape[1] == 8
    assert model.design.net.get("own_embeddings", False) == (embeddings == "own")


def test_it_draws_what_the_pipeline_draws(folder):
    pipeline, place, _ = folder
    model = imported(place)
    start = torch.randn(2, 4, 8, 8, generator=torch.manual_seed(0))
    expected = pipeline(
        [3, 7],
        num_inference_steps=STEPS,
        guidance_scale=4.0,
        output_type="np",
        generator=torch.manual_seed(0),
    ).images
    plan, condition = chain_plan(model, pipeline), {"label": torch.tensor([3, 7])}
    state = run(plan, model.guided(4.0), seeds=[(0, 0), (0, 1)], start=start, condition=condition)
    found = model.codec.pictures.images(state).movedim(1, -1).numpy()
    assert abs(found - expected).max() < 1e-3


def test_its_folder_opens_and_its_recipe_trains_it_on(folder, tmp_path):
    _, place, _ = folder
    written = write_model(imported(place), tmp_path / "native")
    model = perrin.load(written)
    assert type(model) is Model
    assert model.hash == imported(place).hash
    drawn = model.sample(2, steps=2, label=["3", "none"])
    assert drawn.decoded[0].shape == (16, 16, 3)
    from tests.training.tiny import write_images

    pictures = write_images(tmp_path)
    changes = {
        "data": {"path": str(pictures)},
        "training": {"steps": 1, "batch": 2, "validation": 2, "lr": 1e-9, "ema": [0.1], "workers": 0},
    }
    trained = perrin.train(written / "fine-tune.yaml", out=tmp_path / "run", start=written, **changes)
    after, before = trained.model.module.net.state_dict(), model.module.net.state_dict()
    assert trained.model.codec.autoencoder == str((place / "vae").resolve())
    assert trained.model.codec.classes[:3] == ["a", "b", "class 2"]
    assert set(before) == set(after)
    assert all(torch.allclose(after[name], before[name], atol=1e-6) for name in after)


@pytest.mark.parametrize("folder", ["shared"], indirect=True)
def test_weights_of_the_original_code_are_the_same_function_but_for_two_constants(folder, tmp_path):
    """Under their names; diffusers' own network says the same with their frequencies and norm."""
    pipeline, place, _ = folder
    save_file(under_original_names(pipeline.transformer), tmp_path / "DiT.safetensors")
    model = imported(tmp_path / "DiT.safetensors", autoencoder=place / "vae", heads=2)
    assert (model.design.net.get("gap", 0), model.design.net.get("epsilon", 1e-6)) == (0, 1e-6)
    theirs, own = both(as_the_original(pipeline.transformer), model)
    assert float((theirs - own).abs().max()) < 1e-5
    apart = both(pipeline.transformer, model)
    assert float((apart[0] - apart[1]).abs().max()) > 1e-5


def under_original_names(net):
    """The names of the original code, written down from it."""
    found = net.state_dict()
    emb = "transformer_blocks.0.norm1.emb"
    names = {
        "x_embedder.proj": "pos_embed.proj", "t_embedder.mlp.0": f"{emb}.timestep_embedder.linear_1",
        "t_embedder.mlp.2": f"{emb}.timestep_embedder.linear_2", "final_layer.linear": "proj_out_2",
        "final_layer.adaLN_modulation.1": "proj_out_1",
    }  # fmt: skip
    for i in range(net.config.num_layers):
        mine, own = f"blocks.{i}", f"transformer_blocks.{i}"
        names |= {
            f"{mine}.attn.proj": f"{own}.attn1.to_out.0", f"{mine}.mlp.fc1": f"{own}.ff.net.0.proj",
            f"{mine}.mlp.fc2": f"{own}.ff.net.2", f"{mine}.adaLN_modulation.1": f"{own}.norm1.linear",
        }  # fmt: skip
    made = {f"{a}.{part}": found[f"{b}.{part}"] for a, b in names.items() for part in ("weight", "bias")}
    for i in range(net.config.num_layers):
        for part in ("weight", "bias"):
            rows = [found[f"transformer_blocks.{i}.attn1.to_{n}.{part}"] for n in "qkv"]
            made[f"blocks.{i}.attn.qkv.{part}"] = torch.cat(rows)
    made["y_embedder.embedding_table.weight"] = found[f"{emb}.class_embedder.embedding_table.weight"]
    made["pos_embed"] = sines((4, 4), 16)[None]
    return made


def as_the_original(net):
    """The network with the original's frequencies of a step, and its norm before the MLP."""
    made = DiTTransformer2DModel(**net.config)
    made.load_state_dict(net.state_dict())
    for block in made.transformer_blocks:
        block.norm1.emb.time_proj.downscale_freq_shift = 0
        block.norm3.eps = 1e-6
    return made.eval()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"autoencoder": None, "heads": 2}, "--autoencoder"),
        ({"heads": None}, "--heads"),
        ({"heads": 3}, "divisor"),
    ],
)
def test_what_weights_do_not_say_is_asked_for(folder, tmp_path, options, said):
    pipeline, place, _ = folder
    save_file(under_original_names(pipeline.transformer), tmp_path / "DiT.safetensors")
    with pytest.raises(PerrinError, match=said):
        imported(tmp_path / "DiT.safetensors", **{"autoencoder": place / "vae", **options})


def test_other_weights_and_pickles_are_refused(tmp_path):
    save_file({"x": torch.zeros(2)}, tmp_path / "a.safetensors")
    with pytest.raises(PerrinError, match="no weights of the original DiT"):
        imported(tmp_path / "a.safetensors")
    for name in ("DiT-XL-2-256x256.pt", "a.ckpt"):
        with pytest.raises(PerrinError, match="pickle"):
            imported(tmp_path / name)


def test_an_autoencoder_that_is_gone_or_another_is_refused(folder, tmp_path):
    import shutil

    _, place, _ = folder
    shutil.copytree(place, tmp_path / "moved")
    written = write_model(imported(tmp_path / "moved"), tmp_path / "native")
    with torch.random.fork_rng():
        torch.manual_seed(9)
        making.autoencoder().save_pretrained(tmp_path / "moved" / "vae")
    with pytest.raises(PerrinError, match="was made with"):
        _ = perrin.load(written).sample(1, steps=1).decoded
    shutil.rmtree(tmp_path / "moved")
    with pytest.raises(PerrinError, match="which is gone"):
        perrin.load(written)


def test_published_variance_is_theirs_within_its_interval():
    """V makes a reverse step's variance exp(v log beta + (1 - v) log beta~), v = (output + 1) / 2."""
    from perrin.registry import schedules, variances
    from perrin.systems.ddpm import betas, posterior_variances

    chain = schedules.build("ddpm_linear")
    variance = variances.build("published_range")
    output, step = torch.tensor([-0.9, -0.2, 0.4, 1.0], dtype=torch.float64), 600
    v = (output + 1) / 2
    most, least = float(betas(chain)[step]), float(posterior_variances(chain)[step])
    expected = torch.exp(v * math.log(most) + (1 - v) * math.log(least))
    found = variance(output[:, None], chain.levels[step].expand(4))[:, 0]
    before, now = chain.levels[step - 1], chain.levels[step]
    from perrin.process import gaussian

    c_clean = gaussian.posterior(now, before)[1]
    torch.testing.assert_close(least + c_clean**2 * found, expected, rtol=1e-6, atol=0)
