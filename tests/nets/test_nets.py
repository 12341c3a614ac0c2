"""Claims about every network: what it accepts, what it never does, and that its options rebuild it."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from perrin.errors import PerrinError
from perrin.nets.axial import Axial
from perrin.nets.conv_unet import UNet
from perrin.nets.ddpm_unet import DDPMUNet
from perrin.nets.folding import fold, unfold
from perrin.nets.patch_transformer import DiT
from perrin.nets.residual_mlp import MLP

SMALL: dict[str, Any] = {"channels": 8, "blocks": 1}
TINY: dict[str, Any] = {"width": 16, "heads": 2, "blocks": 2}
BUILDS: dict[str, tuple[type[nn.Module], dict[str, Any]]] = {
    "series": (UNet, {"shape": [2, 13], "classes": 3, **SMALL}),
    "image": (UNet, {"shape": [1, 8, 8], "classes": 3, **SMALL}),
    "patched": (UNet, {"shape": [3, 28, 28], "classes": 3, "patch": 2, **SMALL}),
    "odd": (UNet, {"shape": [1, 7, 9], "multipliers": [1, 2, 2], "classes": 3, **SMALL}),
    "attentive": (UNet, {"shape": [1, 8, 8], "attention": 2, "classes": 3, **SMALL}),
    "volume": (UNet, {"shape": [1, 5, 6, 7], "classes": 3, **SMALL}),
    "patches of a series": (DiT, {"shape": [2, 13], "classes": 3, **TINY}),
    "patches of an image": (DiT, {"shape": [1, 8, 8], "classes": 3, **TINY}),
    "patches of an odd image": (DiT, {"shape": [3, 7, 9], "classes": 3, "patch": 4, "qk_norm": True, **TINY}),
    "patches of a volume": (DiT, {"shape": [1, 5, 6, 7], "classes": 3, **TINY}),
    "patches told the step": (
        DiT,
        {"shape": [1, 8, 8], "classes": 3, "clock": "step", "own_embeddings": True, **TINY},
    ),
    "the unet of ddpm": (DDPMUNet, {"shape": [3, 8, 8], "classes": 3, **SMALL, "attention": 1}),
    "the unet of ddpm, added": (
        DDPMUNet,
        {"shape": [1, 7, 9], "classes": 3, **SMALL, "told": "added", "padding": "far"},
    ),
    "windows": (Axial, {"shape": [2, 13], "classes": 3, "patch": 4, "width": 16, "blocks": 1}),
    "points": (MLP, {"shape": [2], "classes": 3, "width": 16}),
    "narrow": (MLP, {"shape": [2], "classes": 3, "width": 16, "octaves": 3}),
    "table": (MLP, {"shape": [2, 3, 2], "classes": 3, "width": 16}),
}


def build(name: str, awake: bool = True, **more: Any) -> nn.Module:
    """A network as its JSON options make it; `awake` moves it off its zero initialisation."""
    torch.manual_seed(0)
    maker, options = BUILDS[name]
    net = maker(**json.loads(json.dumps({**options, **more})))
    if awake:
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
    return net


def inputs(name: str, batch: int = 4) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(batch, *BUILDS[name][1]["shape"], generator=generator)
    return x, torch.linspace(-1.6, 1.6, batch), {"label": torch.arange(batch) % 3}


every_build = pytest.mark.parametrize("name", BUILDS)


@every_build
def test_the_output_has_the_shape_of_the_state_and_is_zero_at_initialisation(name: str) -> None:
    x, time, condition = inputs(name)
    y = build(name, awake=False)(x, time, condition)
    assert y.shape == x.shape
    assert y.abs().max() == 0


@every_build
def test_an_item_alone_is_the_item_in_a_batch(name: str) -> None:
    net, (x, time, condition) = build(name), inputs(name)
    together = net(x, time, condition)
    for i in range(len(x)):
        alone = net(x[i : i + 1], time[i : i + 1], {"label": condition["label"][i : i + 1]})
        torch.testing.assert_close(alone[0], together[i], rtol=1e-4, atol=1e-5)


@every_build
def test_time_and_label_reach_the_output_and_minus_one_is_no_condition(name: str) -> None:
    net, (x, time, condition) = build(name), inputs(name)
    y = net(x, time, condition)
    assert not torch.allclose(y, net(x, time + 0.5, condition), atol=1e-4)
    assert not torch.allclose(y, net(x, time, {"label": (condition["label"] + 1) % 3}), atol=1e-4)
    dropped = {"label": torch.full_like(condition["label"], -1)}
    torch.testing.assert_close(net(x, time, dropped), net(x, time, None), rtol=0, atol=0)


@every_build
def test_every_parameter_learns(name: str) -> None:
    net, (x, time, _) = build(name), inputs(name)
    net(x, time, {"label": torch.tensor([0, 1, 2, -1])}).square().mean().backward()
    assert not [key for key, value in net.named_parameters() if value.grad is None or not value.grad.any()]


@every_build
def test_forward_mode_agrees_with_a_finite_difference(name: str) -> None:
    net, (x, time, condition) = build(name).double(), inputs(name)
    x, time, tangent = x.double(), time.double(), torch.randn_like(x).double()
    _, slope = torch.func.jvp(lambda v: net(v, time, condition), (x,), (tangent,))
    step = 1e-5
    difference = net(x + step * tangent, time, condition) - net(x - step * tangent, time, condition)
    torch.testing.assert_close(slope, difference / (2 * step), rtol=1e-4, atol=1e-5)


@every_build
def test_it_is_one_graph_to_the_compiler(name: str) -> None:
    net, (x, time, condition) = build(name), inputs(name)
    torch.compiler.reset()  # the count of recompilations is per line of code, not per network
    compiled = torch.compile(net, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x, time, condition), net(x, time, condition))
    torch.testing.assert_close(compiled(x, time, None), net(x, time, None))


@every_build
def test_half_precision_is_close_and_finite(name: str) -> None:
    net, (x, time, condition) = build(name), inputs(name)
    exact = net(x, time, condition)
    with torch.autocast("cpu", torch.bfloat16):
        rough = net(x, time, condition).float()
    assert (rough - exact).square().mean() < 0.02**2 * exact.square().mean()


@pytest.mark.parametrize("shape", [(5,), (4, 6), (2, 4, 6)])
def test_unfold_undoes_fold_in_every_dimension(shape: tuple[int, ...]) -> None:
    x = torch.randn(2, 3, *[2 * size for size in shape])
    folded = fold(x, 2)
    assert folded.shape == (2, 3 * 2 ** len(shape), *shape)
    corner = (slice(None), slice(None), *[slice(0, 1)] * len(shape))
    block = (slice(None), slice(None), *[slice(0, 2)] * len(shape))
    assert folded[corner].flatten().sort().values.equal(x[block].flatten().sort().values)
    assert unfold(folded, 2).equal(x)


def test_two_dimensions_fold_as_pixel_unshuffle_does() -> None:
    x = torch.randn(2, 3, 6, 9)
    assert fold(x, 3).equal(torch.nn.functional.pixel_unshuffle(x, 3))


@pytest.mark.parametrize("dims", [2, 3])
def test_a_picture_or_volume_one_pixel_thick_is_the_series(dims: int) -> None:
    """The weights of a series, put into the middle of larger kernels, do the same: the code is one."""
    options: dict[str, Any] = {"multipliers": [1], "attention": 1}
    series = build("series", **options)
    thick = UNet((2, *[1] * (dims - 1), 13), classes=3, **SMALL, **options)
    with torch.no_grad():
        for target, source in zip(thick.parameters(), series.parameters(), strict=True):
            middle = (
                (..., *(size // 2 for size in target.shape[2:-1]), slice(None)) if target.ndim > 2 else ...
            )
            target.zero_()[middle] = source
    x, time, condition = inputs("series")
    y = thick(x.view(len(x), 2, *[1] * (dims - 1), 13), time, condition)
    torch.testing.assert_close(y.view(x.shape), series(x, time, condition), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["series", "image", "volume", "patches of an image", "patches of a volume"])
def test_other_sizes_than_the_declared_one_are_accepted(name: str) -> None:
    net, (x, time, condition) = build(name), inputs(name)
    larger = nn.functional.pad(x, [3, 2] * (x.ndim - 2))
    assert net(larger, time, condition).shape == larger.shape


@pytest.mark.parametrize(
    ("name", "option"),
    [("image", "concat_channels"), ("patches of an image", "concat_channels"), ("points", "concat_size")],
)
def test_float_conditions_reach_the_output_and_a_nan_row_is_none(name: str, option: str) -> None:
    net = build(name, vector_size=3, **{option: 2})
    x, time, _ = inputs(name)
    concat = torch.randn(len(x), 2, *x.shape[2:])
    vector = torch.randn(len(x), 3)
    y = net(x, time, {"concat": concat, "vector": vector})
    without = net(x, time, None)
    for part in ({"concat": concat}, {"vector": vector}, {"concat": 0 * concat}, {"vector": 0 * vector}):
        assert not torch.allclose(net(x, time, part), without, atol=1e-4)
    concat[1], vector[1] = float("nan"), float("nan")
    mixed = net(x, time, {"concat": concat, "vector": vector})
    torch.testing.assert_close(mixed[1], without[1])
    torch.testing.assert_close(mixed[0], y[0])


def test_the_output_may_have_other_channels() -> None:
    for name in ("image", "patches of an image"):
        x, time, condition = inputs(name)
        assert build(name, out_channels=2)(x, time, condition).shape == (len(x), 2, 8, 8)
    x, time, condition = inputs("points")
    assert build("points", out_shape=[5])(x, time, condition).shape == (len(x), 5)


@pytest.mark.parametrize(
    ("maker", "options", "message"),
    [
        (UNet, {"shape": (3,)}, "0 spatial dimensions"),
        (UNet, {"shape": (1, 2, 3, 4, 5)}, "4 spatial dimensions"),
        (UNet, {"shape": (1, 8, 8), "blocks": [1, 2, 3]}, "differ in length"),
        (MLP, {"shape": ()}, "holds no numbers"),
        (DiT, {"shape": (3,)}, "0 spatial dimensions"),
        (DiT, {"shape": (1, 8, 8), "width": 30}, "width = 30 must be a multiple of heads = 4"),
        (DiT, {"shape": (1, 8, 8), "patch": 0}, "patch = 0 must be >= 1"),
    ],
)
def test_impossible_options_get_one_clear_line(maker: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(PerrinError, match=message) as caught:
        maker(**options)
    assert "\n" not in str(caught.value)
