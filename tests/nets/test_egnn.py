"""Claims about the equivariant network: its symmetries, its padding, what it is told and what coinciding atoms do."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from perrin.errors import PerrinError
from perrin.nets.egnn import EGNN
from perrin.nets.pairs import Pairs
from perrin.registry import nets

PLAIN: dict[str, Any] = {
    "shape": {"positions": [6, 3], "atoms": [6]},
    "categories": {"atoms": 3},
    "states": {"atoms": 4},
    "width": 12,
    "pair_width": 10,
    "blocks": 3,
    "radial": 8,
}
FULL: dict[str, Any] = {
    **PLAIN,
    "shape": {"positions": [6, 3], "atoms": [6], "charges": [6], "bonds": [15]},
    "categories": {"atoms": 3, "charges": 3, "bonds": 4},
    "states": {"atoms": 4, "charges": 4, "bonds": 5},
    "properties": 2,
    "classes": 3,
    "recall": True,
}
VARIANTS = {"plain": PLAIN, "full": FULL}
SIZES = [6, 4, 1, 5]
every_variant = pytest.mark.parametrize("name", VARIANTS)
Inputs = tuple[dict[str, Tensor], Tensor, dict[str, Tensor]]


def build(name: str, awake: bool = True, dtype: torch.dtype = torch.float64, **more: Any) -> EGNN:
    """A network as its JSON options make it; `awake` moves it off its zero initialisation."""
    torch.manual_seed(0)
    net = EGNN(**json.loads(json.dumps({**VARIANTS[name], **more})))
    if awake:
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.add_(0.2 * torch.randn_like(parameter))
    return net.to(dtype)


def inputs(sizes: list[int] = SIZES, width: int = 6, dtype: torch.dtype = torch.float64) -> Inputs:
    """Molecules of these sizes padded to `width` atoms; what one holds does not depend on the padding."""
    x: dict[str, list[Tensor]] = {"positions": [], "atoms": [], "charges": [], "bonds": []}
    hints: list[Tensor] = []
    for k, n in enumerate(sizes):
        draw = torch.Generator().manual_seed(k)
        pairs, more = n * (n - 1) // 2, width * (width - 1) // 2 - n * (n - 1) // 2
        x["positions"].append(padded(torch.randn(n, 3, generator=draw), width - n, 0.0))
        x["atoms"].append(padded(torch.randint(0, 4, (n,), generator=draw), width - n, -1))
        x["charges"].append(padded(torch.randint(0, 4, (n,), generator=draw), width - n, -1))
        x["bonds"].append(padded(torch.randint(0, 5, (pairs,), generator=draw), more, -1))
        hints.append(padded(torch.rand(n, 6, generator=draw), width - n, 0.0))
    state = {leaf: torch.stack(values) for leaf, values in x.items()}
    state["positions"] = state["positions"].to(dtype)
    batch, hint = torch.arange(len(sizes)), torch.stack(hints).to(dtype)
    condition = {
        "label": batch % 3,
        "vector": torch.stack([torch.linspace(-1, 1, len(sizes)), batch - 1.0], 1).to(dtype),
        "previous.positions": 2 * hint[..., :3],
        "previous.atoms": hint[..., 3:].softmax(-1),
    }
    return state, torch.linspace(-1.5, 1.0, len(sizes), dtype=dtype), condition


def padded(value: Tensor, count: int, filling: float) -> Tensor:
    return torch.cat([value, value.new_full((count, *value.shape[1:]), filling)])


def item(k: int, held: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value[k : k + 1] for key, value in held.items()}


def close(found: dict[str, Tensor], wanted: dict[str, Tensor], tolerance: float) -> None:
    assert found.keys() == wanted.keys()
    torch.testing.assert_close(found, wanted, rtol=0, atol=tolerance)


def turn(reflect: bool) -> Tensor:
    q = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(7), dtype=torch.float64))[0]
    return q if (torch.linalg.det(q) < 0) == reflect else -q


def in_the_triangle(order: Tensor) -> Tensor:
    """Where the pairs of permuted atoms stood in the lower triangle."""
    i, j = torch.tril_indices(len(order), len(order), -1)
    a, b = order[i], order[j]
    high, low = torch.maximum(a, b), torch.minimum(a, b)
    return high * (high - 1) // 2 + low


@every_variant
@pytest.mark.parametrize("reflect", [False, True], ids=["rotation", "reflection"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_positions_turn_with_the_molecule_and_nothing_else_does(
    name: str, reflect: bool, dtype: torch.dtype, tolerance: float
) -> None:
    net, (x, time, condition), q = build(name, dtype=dtype), inputs(dtype=dtype), turn(reflect).to(dtype)
    hint = condition["previous.positions"] @ q
    there = (x["atoms"] >= 0)[..., None]
    moved = {**x, "positions": (x["positions"] @ q + 0.7) * there}
    found = net(moved, time, {**condition, "previous.positions": hint + 0.3})
    wanted = net(x, time, condition)
    assert wanted["positions"].square().mean() > 0.01
    size = wanted["positions"].detach().abs().max().clamp(min=1)
    close(found, {**wanted, "positions": wanted["positions"] @ q}, tolerance * float(size))


@every_variant
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_atoms_in_another_order_are_the_same_molecule(
    name: str, dtype: torch.dtype, tolerance: float
) -> None:
    net, (x, time, condition) = build(name, dtype=dtype), inputs([6, 6], dtype=dtype)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    pairs = in_the_triangle(order)
    place = {"positions": order, "atoms": order, "charges": order, "bonds": pairs}
    moved = {leaf: value[:, place[leaf]] for leaf, value in x.items()}
    hints = {k: v[:, order] if k.startswith("previous") else v for k, v in condition.items()}
    wanted = net(x, time, condition)
    size = float(wanted["positions"].detach().abs().max().clamp(min=1))
    close(net(moved, time, hints), {k: v[:, place[k]] for k, v in wanted.items()}, tolerance * size)


@every_variant
def test_padding_never_changes_a_molecule(name: str) -> None:
    net, (x, time, condition) = build(name), inputs(width=9)
    together = net(x, time, condition)
    for k, n in enumerate(SIZES):
        alone_x, _, alone_condition = inputs(width=9)
        lengths = {"positions": n, "atoms": n, "charges": n, "bonds": n * (n - 1) // 2}
        cut = {leaf: item(k, alone_x)[leaf][:, : lengths[leaf]] for leaf in alone_x}
        hints = {
            key: v[:, :n] if key.startswith("previous") else v for key, v in item(k, alone_condition).items()
        }
        alone = net(cut, time[k : k + 1], hints)
        close(alone, {leaf: item(k, together)[leaf][:, : lengths[leaf]] for leaf in together}, 1e-12)


@every_variant
def test_what_is_absent_is_zero_and_what_stands_there_is_not_looked_at(name: str) -> None:
    net, (x, time, condition) = build(name), inputs()
    absent = x["atoms"] < 0
    y = net(x, time, condition)
    assert all(value.isfinite().all() for value in y.values())
    assert not y["positions"][absent].any()
    assert not y["atoms"][absent].any()
    loud = {**x, "positions": torch.where(absent[..., None], 1e3, x["positions"])}
    close(net(loud, time, condition), y, 0.0)


@every_variant
def test_it_begins_as_no_answer_and_then_every_parameter_learns(name: str) -> None:
    x, time, condition = inputs()
    assert type(nets.build({"name": "egnn", **VARIANTS[name]})) is EGNN
    assert not any(value.any() for value in build(name, awake=False)(x, time, condition).values())
    net = build(name)
    seen = {
        **condition,
        "observed": torch.zeros(4, 6, dtype=torch.bool).index_fill(1, torch.tensor([0]), True),
    }
    sum(value.square().sum() for value in net(x, time, seen).values()).backward()
    assert not [key for key, p in net.named_parameters() if p.grad is None or not p.grad.any()]


def test_the_output_has_no_mean_and_what_is_observed_is_told() -> None:
    net, (x, time, condition) = build("full"), inputs()
    assert net(x, time, condition)["positions"].sum(1).abs().max() < 1e-12
    observed = torch.zeros(4, 6, dtype=torch.bool)
    observed[0, :2] = True
    seen = net(x, time, {**condition, "observed": observed})
    assert seen["positions"].sum(1).abs().max() < 1e-12
    assert not torch.equal(seen["atoms"][0], net(x, time, condition)["atoms"][0])
    close(item(1, seen), item(1, net(x, time, condition)), 1e-12)


def test_each_property_may_be_absent_and_none_at_all_is_all_absent() -> None:
    net, (x, time, condition) = build("full"), inputs()
    y = net(x, time, condition)

    def told(*values: float) -> dict[str, Tensor]:
        return net(x, time, {**condition, "vector": torch.tensor(values, dtype=torch.float64).expand(4, 2)})

    none = told(math.nan, math.nan)
    close(net(x, time, {k: v for k, v in condition.items() if k != "vector"}), none, 0.0)
    answers = [y, none, told(1.0, math.nan), told(1.0, 0.0), told(0.0, math.nan), told(math.nan, 0.0)]
    sums = [round(float(a["atoms"].detach().sum()), 9) for a in answers]
    assert len(set(sums)) == len(sums)
    assert all(a["atoms"].isfinite().all() for a in answers)


def test_its_last_answer_is_a_hint_item_by_item_and_nan_is_none() -> None:
    net, (x, time, condition) = build("full"), inputs()
    bare = {k: v for k, v in condition.items() if not k.startswith("previous")}
    with_hint, without = net(x, time, condition), net(x, time, bare)
    half = {k: v.clone() for k, v in condition.items()}
    half["previous.positions"][1], half["previous.atoms"][1] = math.nan, math.nan
    y = net(x, time, half)
    close(item(0, y), item(0, with_hint), 1e-12)
    close(item(1, y), item(1, without), 1e-12)
    assert not torch.allclose(with_hint["positions"][1], without["positions"][1], atol=1e-3)


@every_variant
def test_coinciding_atoms_have_a_finite_gradient(name: str) -> None:
    net, (x, time, condition) = build(name), inputs()
    x["positions"][0, 1] = x["positions"][0, 0]
    positions = x["positions"].clone().requires_grad_()
    y = net({**x, "positions": positions}, time, condition)
    sum(value.square().sum() for value in y.values()).backward()
    assert positions.grad is not None
    assert positions.grad.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in net.parameters())


@every_variant
def test_forward_mode_agrees_with_a_finite_difference(name: str) -> None:
    net, (x, time, condition) = build(name), inputs()
    tangent = torch.randn(
        x["positions"].shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64
    )

    def positions(v: Tensor) -> Tensor:
        return net({**x, "positions": v}, time, condition)["positions"]

    _, slope = torch.func.jvp(positions, (x["positions"],), (tangent,))
    step = 1e-5
    ahead, behind = positions(x["positions"] + step * tangent), positions(x["positions"] - step * tangent)
    torch.testing.assert_close(slope, (ahead - behind) / (2 * step), rtol=1e-5, atol=1e-7)


def test_the_forces_of_one_block_have_no_net_force_and_no_torque() -> None:
    """As the gradient of any function of the distances alone; one block moves the atoms along forces on pairs."""
    net, (x, time, condition) = build("plain", blocks=1), inputs()
    force = net(x, time, condition)["positions"]
    torque = torch.linalg.cross(x["positions"], force, dim=2)
    assert torque.sum(1).abs().max() < 1e-12 < force.abs().max()


def test_half_precision_is_close_and_finite() -> None:
    net, (x, time, condition) = build("full", dtype=torch.float32), inputs(dtype=torch.float32)
    exact = net(x, time, condition)
    with torch.autocast("cpu", torch.bfloat16):
        rough = net(x, time, condition)
    for leaf, value in exact.items():
        assert (rough[leaf].float() - value).square().mean() < 0.03**2 * value.square().mean(), leaf


def test_a_batch_in_which_nothing_is_has_an_answer() -> None:
    x, time, condition = inputs([0, 0])
    y = build("full")(x, time, condition)
    assert y["positions"].shape == (2, 6, 3)
    assert y["bonds"].shape == (2, 15, 4)
    assert not any(value.any() for value in y.values())


def test_pairs_are_those_of_a_molecule_in_the_order_of_the_lower_triangle() -> None:
    present = torch.tensor([[True, True, False], [True, True, True]])
    pairs = Pairs(present)
    assert pairs.item.tolist() == [0, 0, 1, 1, 1]
    assert list(zip(pairs.i.tolist(), pairs.j.tolist(), strict=True)) == [(1, 0), (3, 2), (4, 2), (4, 3)]
    numbers = torch.arange(6).reshape(2, 3)
    assert pairs.atoms(numbers).tolist() == [0, 1, 3, 4, 5]
    assert pairs.pairs(numbers).tolist() == [0, 3, 4, 5]
    assert pairs.padded_pairs(torch.tensor([7, 8, 9, 10])).tolist() == [[7, 0, 0], [8, 9, 10]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shape": {"positions": [6, 3]}}, "positions and atoms are needed"),
        ({"shape": {"positions": [6, 3], "atoms": [6], "boxes": [6, 4]}}, "are no molecule"),
        ({"categories": {}}, "atoms needs its number of categories"),
        ({"states": {"atoms": 2}}, "atoms needs its number of categories"),
    ],
)
def test_leaves_that_are_no_molecule_are_refused_in_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(PerrinError, match=message) as caught:
        EGNN(**{**PLAIN, **options})
    assert "\n" not in str(caught.value)
