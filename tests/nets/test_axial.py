"""The axial network: what it begins as, and what it may and may not look at."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from perrin.errors import PerrinError
from perrin.nets.axial import Axial

C, CONTEXT, HORIZON = 3, 20, 6
ROWS = CONTEXT + HORIZON
OPTIONS: dict[str, Any] = {
    "shape": [C, ROWS],
    "covariates": 2,
    "static": 2,
    "classes": 3,
    "patch": 4,
    "width": 16,
    "blocks": 2,
    "heads": 2,
}


def build(**more: Any) -> nn.Module:
    """A network as its JSON options make it, moved off its zero initialisation, in float64."""
    torch.manual_seed(0)
    return awake(Axial(**json.loads(json.dumps({**OPTIONS, **more}))))


def awake(net: nn.Module) -> nn.Module:
    """Off its zero initialisation, in float64."""
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return net.double()


def windows(count: int, generator: torch.Generator | None = None) -> Tensor:
    """Autoregressions [count, C, ROWS] that lean on each other: what comes next is linear in what was."""
    z = torch.randn(count, C, ROWS, generator=generator, dtype=torch.float64)
    for t in range(1, ROWS):
        z[:, :, t] = 0.7 * z[:, :, t - 1] + 0.2 * z[:, :, t - 1].roll(1, 1) + 0.3 * z[:, :, t]
    return z


def told(batch: int = 4) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """A state, times and all conditions of a forecast."""
    generator = torch.Generator().manual_seed(1)
    observed = torch.zeros(batch, C, ROWS, dtype=torch.bool)
    observed[:, :, :CONTEXT] = True
    condition = {
        "observed": observed,
        "valid": torch.ones_like(observed),
        "covariates": torch.randn(batch, 2, ROWS, generator=generator, dtype=torch.float64),
        "static": torch.randn(batch, 2, generator=generator, dtype=torch.float64),
        "label": torch.arange(batch) % 3,
    }
    return windows(batch, generator), torch.linspace(-0.5, 0.5, batch, dtype=torch.float64), condition


def test_it_is_zero_at_first_and_has_the_shape_of_the_state() -> None:
    torch.manual_seed(0)
    x, time, condition = told()
    y = Axial(**OPTIONS).double()(x, time, condition)
    assert y.shape == x.shape
    assert not y.any()


def test_conditions_are_optional_and_each_reaches_the_output() -> None:
    net, (x, time, condition) = build(), told()
    whole = net(x, time, condition)
    assert net(x, time).shape == x.shape
    for name in condition:
        rest = {key: value for key, value in condition.items() if key != name}
        changes = name != "valid"  # without it all is there, as here
        assert torch.allclose(net(x, time, rest), whole, atol=1e-4) != changes, name


def test_nan_rows_and_label_minus_one_are_no_condition() -> None:
    net, (x, time, condition) = build(), told()
    dropped = {**condition, "label": torch.full_like(condition["label"], -1)}
    for name in ("covariates", "static"):
        dropped[name] = torch.full_like(condition[name], torch.nan)
    masks = {name: condition[name] for name in ("observed", "valid")}
    torch.testing.assert_close(net(x, time, dropped), net(x, time, masks))


def test_an_item_alone_is_the_item_in_a_batch() -> None:
    """Other items, whatever is given of them, are not looked at."""
    net, (x, time, condition) = build(), told()
    condition["observed"][1, 0, 3] = False
    together = net(x, time, condition)
    for i in range(len(x)):
        alone = net(x[[i]], time[[i]], {name: value[[i]] for name, value in condition.items()})
        torch.testing.assert_close(alone[0], together[i])


def test_rows_are_counted_from_the_last_one() -> None:
    """Rows of nothing before a window, which only fill up its first patch, change nothing."""
    net, (x, time, condition) = build(), told()
    x = x[:, :, 1:]
    inner = {n: v[..., 1:] if v.dim() == 3 else v for n, v in condition.items()}
    short = net(x, time, inner)
    led = {n: nn.functional.pad(v, (1, 0)) if v.dim() == 3 else v for n, v in inner.items()}
    torch.testing.assert_close(net(nn.functional.pad(x, (1, 0)), time, led)[:, :, 1:], short)


@pytest.mark.parametrize("rows", [5, ROWS - 2, ROWS + 9])
def test_windows_of_any_length_are_taken(rows: int) -> None:
    net = build()
    x = torch.randn(2, C, rows).double()
    assert net(x, torch.zeros(2).double(), {"covariates": torch.randn(2, 2, rows)}).shape == x.shape


def test_columns_change_places_with_what_tells_them_apart() -> None:
    net, (x, time, condition) = build(), told()
    y, order = net(x, time, condition), torch.tensor([2, 0, 1])
    turned = {n: v[:, order] if n in ("observed", "valid") else v for n, v in condition.items()}
    assert not torch.allclose(net(x[:, order], time, turned), y[:, order], atol=1e-4)
    with torch.no_grad():
        net.columns.copy_(net.columns[order])
    torch.testing.assert_close(net(x[:, order], time, turned), y[:, order])


def test_every_column_sees_the_others_and_every_patch_all_times() -> None:
    net, (x, time, condition) = build(), told()
    x.requires_grad_()
    (slope,) = torch.autograd.grad(net(x, time, condition)[0, 0, -1], x)
    assert bool((slope[0] != 0).all())
    assert not slope[1:].any()


def test_one_column_without_conditions_works() -> None:
    net = Axial([1, 9], patch=4, width=8, heads=1, blocks=1)
    assert net(torch.randn(2, 1, 9), torch.zeros(2)).shape == (2, 1, 9)


def test_every_parameter_learns() -> None:
    net, (x, time, condition) = build(), told()
    net(x, time, condition | {"label": torch.tensor([0, 1, 2, -1])}).square().mean().backward()
    assert not [key for key, value in net.named_parameters() if value.grad is None or not value.grad.any()]


def test_forward_mode_and_vjp_agree_with_finite_differences() -> None:
    net, (x, time, condition) = build(), told()
    tangent, step = torch.randn_like(x), 1e-5
    _, slope = torch.func.jvp(lambda v: net(v, time, condition), (x,), (tangent,))
    difference = net(x + step * tangent, time, condition) - net(x - step * tangent, time, condition)
    torch.testing.assert_close(slope, difference / (2 * step), rtol=1e-5, atol=1e-7)
    _, pulled = torch.func.vjp(lambda v: net(v, time, condition), x)
    other = torch.randn_like(x)
    torch.testing.assert_close((pulled(other)[0] * tangent).sum(), (other * slope).sum())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shape": [3]}, "is no window"),
        ({"width": 18}, "must be a multiple of 2 heads"),
        ({"patch": 0}, "patch = 0 must be >= 1"),
    ],
)
def test_impossible_options_get_one_clear_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(PerrinError, match=message) as caught:
        Axial(**{**OPTIONS, **options})
    assert "\n" not in str(caught.value)
