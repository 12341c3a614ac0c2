"""One tick costs little and harms nothing: no state is written to, no host is asked, gradients pass, graphs compile."""

from __future__ import annotations

import pytest
import torch
from torch.overrides import TorchFunctionMode

from perrin.denoise import Prediction, exact
from perrin.process import vp
from perrin.registry import rules
from perrin.sample import Trace, advance, make_plan, run, start_slots
from perrin.sample.running import prior
from perrin.sample.ticking import move
from perrin.sample.timetable import timetable

DENOISER = exact.Gaussian(0.3, 0.5)
AWKWARD = [1, 7, 8, 9, 15, 17, 31, 33, 63, 65, 127, 129, 1031]  # around the widths of vectors


def itself(x, level, condition=None):
    """A network that hands back its own input: the kept prediction and the state are one tensor."""
    return Prediction(x)


def walk(plan, denoiser, x, keys):
    """A run by hand over `advance`: the slots before every row and after the last."""
    slots = start_slots(plan, x)
    seen = [slots]
    for index, row in enumerate(plan.rows):
        level = torch.full((len(x),), row.level or 0.0, dtype=torch.float64)
        slots = advance(plan, index, slots, None if row.level is None else denoiser(slots[1], level), keys)
        seen.append(slots)
    return seen


@pytest.mark.parametrize("denoiser", [DENOISER, itself])
@pytest.mark.parametrize("rule", rules)
def test_what_a_caller_holds_is_never_written_to(rule, denoiser):
    plan, keys = make_plan(rule, vp(), steps=6), [1, 2]
    start = prior(keys, (3, 5), torch.float32, "cpu")
    kept, trace, told = start.clone(), Trace(), []

    def spy(x, level, condition=None):
        found = denoiser(x, level, condition)
        told.append([(v, v.clone()) for v in (x, found.mean)])
        return found

    run(plan, spy, seeds=keys, start=start, trace=trace)
    assert torch.equal(start, kept)
    assert all(torch.equal(held, copy) for pair in told for held, copy in pair)
    by_hand = walk(plan, denoiser, start.clone(), keys)  # with gradients on: nothing is in place there
    assert all(torch.equal(a, b[0]) for a, b in zip(trace.states, by_hand[1:], strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rule", ["dpmpp_2m", "unipc_3", "dpmpp_sde"])
def test_rounding_does_not_depend_on_where_a_value_lies_in_a_vector(rule, dtype):
    """A sample's values fall into the bodies and the tails of vectors in turn as the batch grows."""
    plan, other = make_plan(rule, vp(), steps=4), make_plan("ab_3", vp(), steps=5)
    for size in AWKWARD:
        alone = run(plan, DENOISER, seeds=[5], shape=(size,), dtype=dtype)
        for before in (1, 2, 3):
            together = run(plan, DENOISER, seeds=[*range(before), 5], shape=(size,), dtype=dtype)
            assert torch.equal(together[before:], alone), (size, before)
        mixed = run([other, plan, other], DENOISER, seeds=[1, 5, 2], shape=(size,), dtype=dtype)
        assert torch.equal(mixed[1:2], alone), size


@pytest.mark.parametrize("rule", rules)
def test_a_tick_is_differentiable_forwards_and_backwards(rule):
    """The update is linear with the table's numbers as its derivatives, also without grad mode in `torch.func.jvp`."""
    plan = make_plan(rule, vp(), steps=5)
    index = next(i for i, row in enumerate(plan.rows) if row.level is not None and i >= 2)
    row, keys = plan.rows[index], [3]
    slots = [torch.randn(1, 9, dtype=torch.float64) for _ in range(plan.slots)]
    mean = torch.randn(1, 9, dtype=torch.float64)
    level = torch.tensor([row.level], dtype=torch.float64)
    derivative = row.matrix[:, : plan.slots + 1].sum(1)
    if row.uses_noise:  # E = (x_eval - alpha D) / sigma
        noise = Prediction(torch.ones(1, dtype=torch.float64)).noise_at(
            torch.ones(1, dtype=torch.float64), level
        )
        derivative = derivative + row.matrix[:, plan.slots + 1] * noise

    def tick(t, grad=True):
        with torch.set_grad_enabled(grad):
            return torch.stack(advance(plan, index, [s + t for s in slots], Prediction(mean + t), keys))[:, 0]

    zero = torch.zeros((), dtype=torch.float64)
    for grad in (True, False):
        _, tangent = torch.func.jvp(lambda t, grad=grad: tick(t, grad), (zero,), (zero + 1,))
        torch.testing.assert_close(tangent, derivative[:, None].expand_as(tangent))
    t = zero.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(tick(t).sum(), t)
    torch.testing.assert_close(gradient, 9 * derivative.sum())


def test_a_plan_first_used_in_inference_mode_still_gives_gradients():
    plan = make_plan("dpmpp_2m", vp(), steps=3)
    with torch.inference_mode():
        run(plan, DENOISER, seeds=[1], shape=(4,))
    x = torch.randn(1, 4, requires_grad=True)
    walk(plan, DENOISER, x, [1])[-1][0].sum().backward()
    assert x.grad is not None


class Traffic(TorchFunctionMode):
    """Notes, while `on`, whatever makes a tensor of host data, or one on another device than what it is made of."""

    def __init__(self):
        super().__init__()
        self.on, self.found, self.seen = False, [], 0

    def __torch_function__(self, function, types, arguments=(), options=None):
        out = function(*arguments, **(options or {}))
        if self.on and isinstance(out, torch.Tensor):
            self.seen += 1
            tensors = [a for a in (*arguments, out) if isinstance(a, torch.Tensor) and a.dim()]
            made = function in (torch.tensor, torch.as_tensor) and not isinstance(arguments[0], torch.Tensor)
            if made or len({t.device.type for t in tensors}) > 1:
                self.found.append(function)
        return out


@pytest.mark.parametrize("rule", rules)
def test_no_tick_waits_for_the_host_or_copies_from_it(rule):
    """On the meta device a value that is asked for raises, and every copy is seen; the network's own part is left out."""
    traffic = Traffic()
    plans = [make_plan(rule, vp(), steps=4), make_plan("edm_heun", vp(), steps=3)]

    def network(x, level, condition=None):
        assert level.device.type == x.device.type == "meta"
        assert condition["label"].shape == level.shape
        traffic.on = True  # the run is ready once it asks
        return Prediction(torch.empty_like(x))

    label = torch.zeros(3, dtype=torch.long, device="meta")
    for plan in (plans[0], [plans[0], plans[1], plans[0]]):
        start = torch.empty(3, 2, 5, device="meta")
        with traffic:
            x = run(plan, network, seeds=[1, 2, 3], start=start, condition={"label": label})
        traffic.on = False
        assert x.shape == (3, 2, 5)
        assert x.device.type == "meta"
        assert traffic.found == []
        assert traffic.seen > 10


@pytest.mark.parametrize("rule", ["dpmpp_2m", "unipc_2", "dpmpp_sde"])
def test_a_tick_and_its_network_compile_to_one_graph(rule):
    """Without a break; a row of the same form reuses the graph of another."""
    plan, net = make_plan(rule, vp(), steps=8), torch.nn.Linear(5, 5)
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    def tick(ready, levels, slots):
        return move(ready, slots, Prediction(net(slots[1]) * torch.sigmoid(levels)[:, None].float()), {})

    torch._dynamo.reset()
    compiled = torch.compile(tick, backend=backend, fullgraph=True, dynamic=False)
    stops = timetable([plan] * 2, [1, 2], plan.slots, torch.zeros(2, 5))
    with torch.no_grad():
        for stop in stops[3:5]:
            slots = [torch.randn(2, 5) for _ in range(plan.slots)]
            right = tick(stop.ready, stop.levels, slots)
            assert all(
                torch.equal(a, b)
                for a, b in zip(compiled(stop.ready, stop.levels, slots), right, strict=True)
            )
    assert 1 <= len(graphs) <= 2
