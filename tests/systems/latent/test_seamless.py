"""Seamless pictures: a picture that is shifted round is drawn as well as the first, shifted; and tiles of large ones."""

import pytest
import torch
from tests.systems.latent.comparing import picture

import perrin
from perrin.cli.entry import main
from perrin.errors import PerrinError
from perrin.sample import run

START = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(2))


def pixels(model, start, **wanted):
    told = model.codec.outline(1, 0, 0, prompt="a cube", **wanted).condition
    state = run(model.plan("ddim", 3), model.guided(3.0), seeds=[0], start=start, condition=told)
    return model.codec.images(state)


def shifted(model, across, down, **wanted):
    """How far pictures of shifted noise are from shifted pictures, in pixels."""
    moved = pixels(model, START.roll((2 * down, 2 * across), (2, 3)), **wanted)
    return float((pixels(model, START, **wanted).roll((4 * down, 4 * across), (2, 3)) - moved).abs().max())


def test_shifted_noise_gives_the_shifted_picture(saved):
    model = perrin.load(saved("stable_diffusion")[1])
    both, across = model.seamless(), model.seamless(down=False)
    assert shifted(both, 1, 0) < 1e-4
    assert shifted(both, 1, 1) < 1e-4
    assert shifted(across, 1, 0) < 1e-4
    assert shifted(across, 0, 1) > 1e-2
    assert shifted(model, 1, 0) > 1e-2  # which stays as it was
    assert both.hash == model.hash  # the weights are the same; provenance says the rest


def test_networks_that_know_positions_are_refused(saved):
    with pytest.raises(PerrinError, match="know positions"):
        perrin.load(saved("dit")[1]).seamless()
    model = perrin.load(saved("stable_diffusion")[1])
    with pytest.raises(PerrinError, match="neither"):
        model.seamless(across=False, down=False)
    with pytest.raises(PerrinError, match="cannot be made seamless"):
        model.seamless().seamless()


def test_tiles_are_those_of_the_autoencoder(saved):
    pipeline, folder = saved("stable_diffusion")
    model = perrin.load(folder)
    made, z = model.tiled(16), torch.randn(2, 4, 16, 24, generator=torch.Generator().manual_seed(0))
    vae = pipeline.vae
    vae.enable_tiling()  # of 16 pixels, its own sample_size
    with torch.no_grad():
        expected = (vae.decode(z / vae.config.scaling_factor).sample / 2 + 0.5).clamp(0, 1)
    vae.disable_tiling()
    assert float((made.codec.images(z) - expected).abs().max()) < 1e-5
    assert float((model.codec.images(z) - expected).abs().max()) > 1e-3
    assert made.codec.images(z[:, :, :8, :8]).equal(model.codec.images(z[:, :, :8, :8]))
    for pixels_, said in ((12, "multiple of 8"), (0, "multiple of 8"), (True, "multiple of 8")):
        with pytest.raises(PerrinError, match=said):
            model.tiled(pixels_)
    with pytest.raises(PerrinError, match="borders"):
        model.seamless().tiled(16)
    with pytest.raises(PerrinError, match="draws pixels"):
        perrin.load(saved("ddpm")[1]).tiled(16)


@pytest.mark.parametrize("option", [["--seamless"], ["--tiles", "16"]])
def test_the_command_makes_its_pictures_again(saved, tmp_path, option):
    folder = str(saved("stable_diffusion")[1])
    told = ["sample", folder, "-n", "1", "--prompt", "a", "--steps", "2", "--height", "32", "--width", "32"]
    assert main([*told, *option, "--out", str(tmp_path / "out")]) == 0
    made = next((tmp_path / "out").glob("0*.png"))
    assert main(["repro", str(made), "--json"]) == 0


def test_a_control_net_is_seamless_too(saved):
    model = perrin.load(saved("controlled")[1])
    told = {"control": picture(), "control_scale": 0.0}
    assert shifted(model.seamless(), 1, 1, **told) < 1e-4
