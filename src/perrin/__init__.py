"""Perrin trains, samples, steers and evaluates diffusion models for any kind of data.

    import perrin
    run = perrin.train("digits", out="runs/digits")     # -> Run
    model = perrin.load("runs/digits")                  # -> Model
    model.sample(16, label=range(10)).save("digits")

Public names are lazy (PEP 562): `import perrin` imports nothing else, torch included, until a name is used.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perrin.api import distill, train, tune
    from perrin.expanding import augment
    from perrin.loading import load
    from perrin.restoring import edit, restore
    from perrin.series import backtest, forecast, impute

__version__ = "0.1.0"
VERBS = {  # -> the file that has them
    "load": "loading",
    **dict.fromkeys(("distill", "train", "tune"), "api"),
    **dict.fromkeys(("backtest", "forecast", "impute"), "series"),
    **dict.fromkeys(("edit", "restore"), "restoring"),
    "augment": "expanding",
}
__all__ = [
    "__version__",
    "augment",
    "backtest",
    "distill",
    "edit",
    "forecast",
    "impute",
    "load",
    "restore",
    "train",
    "tune",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module(f"perrin.{VERBS[name]}"), name)
    if not name.startswith("_") and find_spec(f"perrin.{name}") is not None:
        return import_module(f"perrin.{name}")
    raise AttributeError(f"module 'perrin' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
