"""Networks that know no diffusion: `net(x, time, condition) -> y`, nothing more.

`x` [B, *shape] float; `time` [B], any smooth clock of order one; `condition` None or a dict of tensors with
a leading batch dimension (`"label"`, `"vector"`, `"concat"`). Of a network over tokens `x` [B, L] is int64, -1 where
there is no position, and the output logits [B, L, K]. The output is zero at initialisation.
"""
