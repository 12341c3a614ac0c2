"""Anyone's attention by our way: the same numbers, without the slow kernel, and only where it is slow."""

import pytest
import torch
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from perrin.nets.foreign_attention import QuickAttention

FUSED = "flash_attention_for_cpu"


class Called(TorchDispatchMode):
    """Notes the names of the operations that run."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


def parts(kind, tokens=49):
    generator = torch.Generator().manual_seed(0)
    made = (torch.randn(2, 3, tokens, 16, generator=generator) for _ in range(3))
    return [v.to(kind).requires_grad_() for v in made]


def attended(kind, quick, **options):
    """What attention answers, the gradients of queries, keys and values, and the operations that it took."""
    given = parts(kind)
    with Called() as called:
        if quick:
            with QuickAttention():
                found = functional.scaled_dot_product_attention(*given, **options)
        else:
            found = functional.scaled_dot_product_attention(*given, **options)
        found.float().pow(2).sum().backward()
    return found, [v.grad for v in given], any(FUSED in name for name in called.names)


def test_in_half_precision_it_takes_another_way_to_the_same_numbers():
    exact, slopes, _ = attended(torch.float32, False)
    found, gradients, fused = attended(torch.bfloat16, True)
    assert not fused
    torch.testing.assert_close(found.float(), exact, rtol=0.02, atol=0.02)
    for mine, right in zip(gradients, slopes, strict=True):
        torch.testing.assert_close(mine.float(), right, rtol=0.05, atol=0.05)


def test_a_mask_of_truths_hides_what_it_hides():
    mask = torch.ones(49, 49, dtype=torch.bool).tril()
    found, _, fused = attended(torch.bfloat16, True, attn_mask=mask)
    assert not fused
    torch.testing.assert_close(
        found.float(), attended(torch.float32, False, attn_mask=mask)[0], rtol=0.02, atol=0.02
    )


@pytest.mark.parametrize("options", [{}, {"is_causal": True}])
def test_in_float32_nothing_changes(options):
    found, gradients, fused = attended(torch.float32, True, **options)
    right, slopes, _ = attended(torch.float32, False, **options)
    assert fused
    assert torch.equal(found, right)
    assert all(torch.equal(a, b) for a, b in zip(gradients, slopes, strict=True))


@pytest.mark.parametrize(
    "options", [{"is_causal": True}, {"scale": 0.5}, {"attn_mask": torch.zeros(49, 49, dtype=torch.bfloat16)}]
)
def test_what_it_does_not_know_stays_as_it_is(options):
    assert torch.equal(
        attended(torch.bfloat16, True, **options)[0], attended(torch.bfloat16, False, **options)[0]
    )


def test_a_compiled_network_takes_the_other_way_as_well():
    seen = []

    def backend(graph, inputs):
        seen.extend(str(node.target) for node in graph.graph.nodes)
        return graph.forward

    torch.compiler.reset()
    network = torch.compile(
        lambda q, k, v: functional.scaled_dot_product_attention(q, k, v), backend=backend, fullgraph=True
    )
    with QuickAttention():
        found = network(*parts(torch.bfloat16))
    assert seen
    assert not any("scaled_dot_product" in name for name in seen)
    torch.testing.assert_close(found, attended(torch.bfloat16, True)[0])
