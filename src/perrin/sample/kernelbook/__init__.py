"""How tokens move: one file a way, registered in `perrin.registry.kernels`."""
