"""Networks that know no diffusion: `net(x, time, condition) -> y`, nothing more.

`x` [B, *shape] float; `time` [B], any smooth clock of order one; `condition` None or a dict of tensors with
a leading batch dimension (`"label"`, `"vector"`, `"concat"`). The output is zero at initialisation.
"""
