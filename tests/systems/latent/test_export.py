"""A trained Perrin model in diffusers: its pipelines draw the same, `perrin.load` too, and it comes back as it was."""

import numpy as np
import pytest
import torch
from diffusers import DDIMPipeline, DiTPipeline, DiTTransformer2DModel, UNet2DModel
from tests.systems.latent import making
from tests.systems.latent.comparing import STEPS, chain_plan

import perrin
from perrin.design import Design, Sampling
from perrin.errors import PerrinError
from perrin.kinds.images import ImageCodec
from perrin.model import Model
from perrin.process.schedulebook.chains import ddpm_cosine
from perrin.sample import run
from perrin.systems.latent.exporting.importing import imported
from perrin.systems.latent.exporting.natives import write_native
from perrin.systems.latent.latents import AutoencoderCodec

UNET = {"name": "ddpm_unet", "shape": [3, 8, 8], "channels": 8, "multipliers": [1, 2], "blocks": 1, "head": 4}
DIT = {
    "name": "dit", "shape": [4, 8, 8], "classes": 5, "out_channels": 4, "width": 16, "heads": 2, "blocks": 2, "patch": 2,
    "clock": "step", "gap": 1, "epsilon": 1e-5,
}  # fmt: skip
LINEAR = {"name": "ddpm_linear"}


def model_of(net, predicts="noise", schedule=LINEAR, codec=None, variance=None, seed=0):
    """A model with random weights."""
    told = {} if variance is None else {"variance": {"name": variance, "schedule": LINEAR}}
    made = {"name": predicts, **({} if schedule is None else {"schedule": schedule}), **told}
    codec = codec or ImageCodec(tuple(net["shape"]), None, 0.5)
    design = Design(net, made, {"kind": codec.kind, "config": codec.config()})
    module = design.denoiser()
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    return Model(design, module, codec, Sampling(schedule=LINEAR), None, {"name": "small"})


def drawn(model, pipeline, start, guidance=1.0, label=None):
    """Pictures [n, H, W, C] in [0, 1] by DDIM on the pipeline's own levels, from the same noise."""
    condition = None if label is None else {"label": torch.tensor(label)}
    keys = [(0, i) for i in range(len(start))]
    state = run(
        chain_plan(model, pipeline), model.guided(guidance), seeds=keys, start=start, condition=condition
    )
    pictures = getattr(model.codec, "pictures", model.codec)
    values = pictures.images(state) if hasattr(pictures, "images") else (state / 2 + 0.5).clamp(0, 1)
    return values.movedim(1, -1).numpy()


@pytest.mark.parametrize(
    ("predicts", "schedule", "options"),
    [
        ("noise", LINEAR, {}),
        ("v", {"name": "discrete", "alphas_cumprod": [*torch.linspace(0.999, 0.01, 99).tolist(), 0.0]}, {}),
        ("clean", ddpm_cosine(200).config(), {"attention": [True, False], "told": "added", "padding": "far"}),
        ("noise", LINEAR, {"attention": 2, "middle": False, "gap": 1, "epsilon": 1e-6, "shape": [1, 8, 16]}),
    ],
)
def test_a_unet_of_a_chain_draws_the_same_in_diffusers_and_comes_back(tmp_path, predicts, schedule, options):
    model = model_of({**UNET, **options}, predicts, schedule)
    folder = write_native(model, tmp_path / "out")
    pipeline = DDIMPipeline.from_pretrained(folder)
    assert isinstance(pipeline.unet, UNet2DModel)
    pipeline.set_progress_bar_config(disable=True)
    start = torch.randn(2, *model.codec.shape, generator=torch.manual_seed(0))
    expected = pipeline(2, torch.manual_seed(0), num_inference_steps=STEPS, output_type="np").images
    own = drawn(model, pipeline, start)
    assert np.abs(own - expected).max() < 1e-3
    assert expected.std() > 0.1
    opened = perrin.load(folder)
    assert np.abs(drawn(opened, pipeline, start) - expected).max() < 1e-3
    back = imported(folder)
    assert back.design.net["name"] == "ddpm_unet"
    assert np.abs(drawn(back, pipeline, start) - expected).max() < 1e-3
    assert back.hash == model.hash
    assert back.design.parameterisation["name"] == predicts


@pytest.fixture
def latent_codec(tmp_path):
    vae = making.seeded(making.dit).vae
    vae.save_pretrained(tmp_path / "vae")
    return AutoencoderCodec.of(tmp_path / "vae", (8, 8), ["ant", "bee", "cat", "dog", "eel"])


@pytest.mark.parametrize("variance", [None, "published_range"])
def test_a_dit_of_latents_draws_the_same_in_diffusers_and_comes_back(tmp_path, latent_codec, variance):
    net = DIT | {"out_channels": 4 if variance is None else 8}
    model = model_of(net, codec=latent_codec, variance=variance)
    folder = write_native(model, tmp_path / "out")
    pipeline = DiTPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    assert pipeline.get_label_ids(["cat", "eel"]) == [2, 4]
    same = [file.read_bytes() for file in sorted((tmp_path / "vae").iterdir())]
    assert same == [file.read_bytes() for file in sorted((folder / "vae").iterdir())]
    # the pipeline takes class 1000 for none, which this network has not: without guidance
    start = torch.randn(2, 4, 8, 8, generator=torch.manual_seed(0))
    expected = pipeline([2, 4], 1.0, torch.manual_seed(0), num_inference_steps=STEPS, output_type="np").images
    for made in (model, perrin.load(folder), imported(folder)):
        assert np.abs(drawn(made, pipeline, start, label=[2, 4]) - expected).max() < 1e-3
    assert expected.std() > 0.02
    assert imported(folder).hash == model.hash
    assert imported(folder).codec.classes == latent_codec.classes


def test_a_dit_of_pixels_is_a_network_without_a_pipeline(tmp_path):
    codec = ImageCodec((3, 8, 8), ["a", "b"], 0.5)
    model = model_of(DIT | {"shape": [3, 8, 8], "classes": 2, "out_channels": 3}, codec=codec)
    folder = write_native(model, tmp_path / "out")
    assert not (folder / "model_index.json").exists()
    net, x = DiTTransformer2DModel.from_pretrained(folder / "transformer"), torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        theirs = net(x, timestep=torch.tensor([7, 7]), class_labels=torch.tensor([1, 2])).sample
        own = model.module.net(x, torch.tensor([7.0, 7.0]), {"label": torch.tensor([1, -1])})
    assert float((theirs - own).abs().max()) < 1e-5
    assert imported(folder).hash == model.hash
    with pytest.raises(PerrinError, match="holds no model"):
        imported(folder / "scheduler")


@pytest.mark.parametrize(
    ("net", "options", "said"),
    [
        ({"name": "unet", "shape": [3, 8, 8], "channels": 8}, {}, "net 'unet' has no counterpart"),
        (UNET, {"schedule": None}, "parameterisation.schedule has none"),
        (UNET, {"schedule": {"name": "vp"}}, "is 'vp', in continuous time"),
        (UNET, {"predicts": "edm", "schedule": None}, "parameterisation 'edm' cannot be exported"),
        (UNET | {"classes": 2}, {}, "classes cannot be exported"),
        (UNET | {"shape": [3, 8, 9]}, {}, "multiples of 2"),
        (UNET | {"out_channels": 6}, {"variance": "published_range"}, "variance 'published_range' of net 'ddpm_unet'"),
        (DIT | {"clock": "level", "gap": 0}, {}, "clock = 'level' cannot be exported"),
        (DIT | {"gap": 0}, {}, "gap = 0"),
        (DIT | {"expansion": 2}, {}, "expansion = 2"),
        (DIT | {"qk_norm": True}, {}, "qk_norm = True"),
        (DIT | {"classes": None}, {}, "without classes"),
        (DIT | {"shape": [4, 8, 6]}, {}, "squares"),
    ],
)  # fmt: skip
def test_what_diffusers_cannot_say_is_refused_by_name(tmp_path, net, options, said):
    with pytest.raises(PerrinError, match=said):
        write_native(model_of(net, **options), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"center_input_sample": True}, "center_input_sample = True"),
        ({"time_embedding_type": "fourier"}, "time_embedding_type = 'fourier'"),
        ({"num_class_embeds": 3}, "num_class_embeds = 3"),
        ({"resnet_time_scale_shift": "scale_shift"}, "attn_norm_num_groups"),
        ({"up_block_types": ("UpBlock2D", "UpBlock2D")}, "not known together"),
    ],
)
def test_what_perrins_unet_cannot_be_is_refused_by_name(change, said):
    from perrin.systems.latent.exporting.unet_weights import options_of

    with pytest.raises(PerrinError, match=said):
        options_of({**making.seeded(making.ddpm).unet.config, **change}, "there")


@pytest.mark.parametrize("told", ["default", "scale_shift"])
def test_a_unet_that_diffusers_made_is_the_same_function(told, tmp_path):
    """With norms that have numbers of their own before the embedding, sines before cosines, zeros at the far end."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = UNet2DModel(
            sample_size=8, in_channels=3, out_channels=3, layers_per_block=2, block_out_channels=(8, 16),
            down_block_types=("AttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "AttnUpBlock2D"),
            norm_num_groups=4, attn_norm_num_groups=4, attention_head_dim=4, resnet_time_scale_shift=told,
            flip_sin_to_cos=False, freq_shift=1, downsample_padding=0, norm_eps=1e-6,
        ).eval()  # fmt: skip
        for parameter in net.parameters():
            parameter.data += 0.1 * torch.randn(parameter.shape)
    DDIMPipeline(net, making.chain()).save_pretrained(tmp_path / "there")
    own = imported(tmp_path / "there").module.net
    x, step = (
        torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(1)),
        torch.tensor([0.0, 40.0, 999.0]),
    )
    with torch.no_grad():
        assert float((own(x, step) - net(x, step).sample).abs().max()) < 1e-5


def test_a_trained_run_is_exported_by_the_command_and_imported_by_the_other(tmp_path, capsys):
    import json

    from tests.training.tiny import write_images

    from perrin.cli.entry import main

    changes = {
        "data": {"path": str(write_images(tmp_path))},
        "codec": {"size": 8},
        "net": {"channels": 8, "blocks": 1},
        "training": {"steps": 3, "batch": 4, "validation": 4, "workers": 0, "lr": 0.01, "sample_every": None},
    }
    perrin.train("ddpm-images", out=tmp_path / "run", **changes)
    assert main(["export", str(tmp_path / "run"), "--out", str(tmp_path / "out"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert "unet/diffusion_pytorch_model.safetensors" in told["files"]
    assert main(["import", str(tmp_path / "out"), "--out", str(tmp_path / "back"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["hash"] == told["hash"] == perrin.load(tmp_path / "run").hash
    assert main(["export", str(tmp_path / "run"), "--out", str(tmp_path / "out")]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main(["export", str(tmp_path / "run"), "--out", str(tmp_path / "out"), "--overwrite"]) == 0
    assert main(["export", str(tmp_path / "run"), "--out", str(tmp_path / "images"), "--overwrite"]) == 2
    assert "holds other files" in capsys.readouterr().err
    assert (
        main(["export", str(tmp_path / "run"), "--out", str(tmp_path / "x"), "--lora", "a.safetensors"]) == 2
    )
    assert "for pretrained folders" in capsys.readouterr().err
    assert main(["import", str(tmp_path / "nothing"), "--out", str(tmp_path / "x")]) == 2
