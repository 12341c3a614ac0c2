r"""Denoisers of states with several leaves: one network for all of them, or one denoiser for each.

The network sees every leaf at once, so that leaves that are dependent in the data are so in what is predicted; given the
prediction each leaf moves by its own process. What its outputs mean is settled leaf by leaf:

    Gaussian    as the parameterisation says (`denoise.parameterisation`)
    tokens      logits of the clean tokens
    a manifold  the displacement s^2 score in units of its root mean square, so of order one at every level
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from perrin.denoise.adapter import Adapter, Function
from perrin.denoise.parameterisation import Parameterisation, noise_time
from perrin.denoise.prediction import Condition, Denoiser, Prediction
from perrin.denoise.tokens import posterior_logits
from perrin.errors import PerrinError
from perrin.process.categorical import Categorical
from perrin.process.levels import expand
from perrin.process.product import Manifold, Process, as_product
from perrin.process.state import State, leaves
from perrin.process.subspace import Centred


class ProductDenoiser(Adapter):
    """`net(x, time, condition) -> leaf -> output` as a denoiser.

    Args:
        net: x leaf -> [B, ...], Gaussian leaves scaled as their parameterisation says; time [B] is -level / 8 of the
            state's level. It outputs a mapping with every leaf: like x, of tokens logits [B, ..., K], on a manifold
            tangent vectors.
        process: of the leaves; those that are not named are Gaussian.
        parameterisation: of the Gaussian leaves.
    """

    def __init__(self, net: nn.Module, process: Process, parameterisation: Parameterisation) -> None:
        super().__init__(Function.of(net))
        self.process, self.parameterisation = as_product(process), parameterisation

    def forward(self, x: State, level: Tensor, condition: Condition = None) -> Prediction:
        """The prediction at x, leaf -> [B, ...], and `level` [B].

        Raises:
            PerrinError: a network that leaves out a leaf, or outputs another shape.
        """
        parts, level = leaves(x), level.to(torch.float64)
        outputs = self._outputs(parts, level, condition)
        mean, logits = dict[str, Tensor](), dict[str, Tensor]()
        for name, value in parts.items():
            if name not in outputs:
                raise PerrinError(f"the network outputs {', '.join(outputs)} and lacks leaf {name!r}")
            process, own = self.process.of(name), self.process.clock(name)(level)
            if isinstance(process, Categorical):
                logits[name] = posterior_logits(process, value, outputs[name], own)
                mean[name] = torch.softmax(logits[name], -1)
                continue
            output = outputs[name].to(value.dtype)
            if isinstance(process, Manifold):
                mean[name] = expand(process.rms(own), output) * output
            else:
                skip, out = self.parameterisation.coefficients(own)
                mean[name] = expand(skip, value) * value + expand(out, value) * output
        return Prediction(mean, logits=logits or None)

    def _outputs(self, parts: dict[str, Tensor], level: Tensor, condition: Condition) -> Mapping[str, Tensor]:
        weight = next((p for p in self.net.parameters() if p.is_floating_point()), None)
        first = next(iter(parts.values()))
        kind = torch.float32 if weight is None else weight.dtype
        inputs = {}
        for name, value in parts.items():
            if value.is_floating_point() and not isinstance(self.process.of(name), Manifold):
                scale = self.parameterisation.scale(self.process.clock(name)(level))
                value = (expand(scale, value) * value).to(value.dtype if weight is None else kind)
            inputs[name] = value
        time = noise_time(level).to(first.device, torch.promote_types(kind, torch.float32))
        found: Mapping[str, Tensor] = self.net(inputs, time, condition)
        return found

    def check(self, levels: Tensor) -> None:
        """Refuse levels at which the parameterisation of a Gaussian leaf is undefined."""
        gaussian = [p for p in self.process.parts.values() if isinstance(p, Centred)]
        if gaussian or not self.process.parts:
            self.parameterisation.check(levels)


class Independent:
    """Denoisers side by side, one a leaf, each at its own level: exact where the leaves are independent.

    Args:
        parts: leaf -> denoiser of that leaf alone; process: whose clocks say at which level.
    """

    def __init__(self, parts: Mapping[str, Denoiser], process: Process = None) -> None:
        self.parts, self.process = dict(parts), as_product(process)

    def __call__(self, x: State, level: Tensor, condition: Condition = None) -> Prediction:
        """The prediction at x, leaf -> [B, ...], `level` [B]."""
        found = {
            name: self.parts[name](value, self.process.clock(name)(level), condition)
            for name, value in leaves(x).items()
        }
        logits = {name: leaves(p.logits)[""] for name, p in found.items() if p.logits is not None}
        return Prediction({name: leaves(p.mean)[""] for name, p in found.items()}, logits=logits or None)
