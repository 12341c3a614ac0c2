"""The recipe: a typed YAML file that names kind, data, process, network, objective and training.

Built-in ones lie in `perrin/recipes`. A recipe may start from another (`base: images`) and change parts of it; the
command line changes single values (`--set training.lr=1e-3`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from perrin.errors import PerrinError
from perrin.registry import objectives, unknown
from perrin.training.schema import first_line, schema_of


class _Loader(yaml.SafeLoader):
    """YAML in which 1e-3 is a number, as YAML 1.2 and people have it; YAML 1.1 reads a text."""


class _Dumper(yaml.SafeDumper):
    """Its counterpart: a text that looks like a number is quoted."""


for _side in (_Loader, _Dumper):
    _side.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
    )


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Training(_Section):
    """How to train. A budget, of CPU-seconds or of seconds on the clock, ends training before `steps` where it is given."""

    steps: int = Field(10_000, ge=1)
    cpu_seconds: float | None = Field(None, gt=0)
    seconds: float | None = Field(None, gt=0)
    batch: int = Field(128, ge=1)
    lr: float = Field(1e-3, gt=0)
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = Field(0.0, ge=0)
    warmup: float = Field(0.05, ge=0, le=1)
    decay: float = Field(1.0, ge=0, le=1)
    clip: float | None = Field(1.0, gt=0)
    accumulate: int = Field(1, ge=1)
    ema: list[float] = [0.05, 0.1]
    snapshots: int = Field(8, ge=1)
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    compile: bool = False
    sharding: Literal["none", "fsdp"] = "none"
    threads: int | None = Field(None, ge=1)
    workers: int = Field(2, ge=0)
    seed: int = 0
    validation: float | int = Field(0.05, ge=0)
    validate_every: int | None = Field(None, ge=1)
    save_every: int | None = Field(None, ge=1)
    sample_every: int | None = Field(None, ge=1)


class Objective(_Section):
    """What to minimise: law of levels x weight x metric (+ auxiliary), with a share of conditions dropped.

    `teacher` is the model that a distillation learns from; see `training.distilling.Teacher`.
    Further keys are options of the objective of that name, such as `slices` of sliced score matching.
    """

    model_config = ConfigDict(extra="allow")

    name: str = "denoising"
    law: dict[str, Any] = {"name": "lognormal"}
    weight: dict[str, Any] = {"name": "edm"}
    metric: Literal["squared", "pseudo_huber"] = "squared"
    drop: float = Field(0.1, ge=0, le=1)
    auxiliary: dict[str, Any] | None = None
    teacher: dict[str, Any] | None = None


class Evaluation(_Section):
    """How `--evaluate` and `perrin evaluate` judge by default."""

    samples: int = Field(500, ge=10)
    seed: int = 0
    k: int = Field(5, ge=1)


class Recipe(_Section):
    """A whole recipe; sections with a `name` are checked against the registry's object of that name."""

    format: Literal[1] = 1
    name: str
    about: str = ""
    task: Literal["denoiser", "classifier"] = "denoiser"
    kind: str
    data: dict[str, Any] = {}
    held_out: float | int = Field(0, ge=0)
    split_seed: int = 0
    test: dict[str, Any] | None = None
    codec: dict[str, Any] = {}
    process: dict[str, Any] | None = None
    net: dict[str, Any]
    parameterisation: dict[str, Any] = {"name": "edm"}
    objective: Objective = Objective()
    training: Training = Training()
    sampling: dict[str, Any] = {}
    evaluation: Evaluation = Evaluation()


def builtin() -> dict[str, str]:
    """Names of the built-in recipes and what each is about."""
    found = sorted(files("perrin").joinpath("recipes").iterdir(), key=lambda f: f.name)
    named = {
        f.name[:-5]: yaml.safe_load(f.read_text(encoding="utf-8")) for f in found if f.name.endswith(".yaml")
    }
    return {name: str(content.get("about", "")) for name, content in named.items()}


def read(source: str | Path | Mapping[str, Any], above: tuple[str, ...] = ()) -> dict[str, Any]:
    """The content of a built-in recipe, a YAML file or a mapping, with its base filled in.

    Args:
        above: the recipes that have this one as their base; a base in a file is found beside that file.

    Raises:
        PerrinError: no such recipe, a file that is not YAML, or a recipe that is its own base.
    """
    content = _content(source)
    base = content.pop("base", None)
    if base is None:
        return content
    if _is_file(base) and not isinstance(source, Mapping):
        base = str(Path(source).parent / base)
    if str(base) in above:
        raise PerrinError(f"the recipe {base} is its own base, by way of {', '.join(above)}")
    return merge(read(base, (*above, str(base))), content)


def _is_file(source: Any) -> bool:
    return Path(str(source)).suffix in (".yaml", ".yml")


def _content(source: str | Path | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(source, Mapping):
        return dict(source)
    if _is_file(source):
        try:
            text = Path(source).read_text(encoding="utf-8")
        except OSError as error:
            raise PerrinError(f"cannot read the recipe {source}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise PerrinError(f"the recipe {source} is not a text in UTF-8: {error}") from error
    else:
        file = files("perrin").joinpath("recipes", f"{source}.yaml")
        if not file.is_file():
            raise unknown(
                "recipe", source, builtin(), "perrin models --recipes lists all; or give a .yaml file"
            )
        text = file.read_text(encoding="utf-8")
    try:
        content = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise PerrinError(f"the recipe {source} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise PerrinError(f"the recipe {source} must be a mapping of sections, not {type(content).__name__}")
    return content


def merge(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `change` laid over it, section by section; a section of another `name` replaces the old one."""
    result = dict(base)
    for key, value in change.items():
        old = result.get(key)
        if (
            isinstance(value, Mapping)
            and isinstance(old, Mapping)
            and value.get("name", old.get("name")) == old.get("name")
        ):
            result[key] = merge(old, value)
        else:
            result[key] = value
    return result


def set_value(content: dict[str, Any], assignment: str) -> dict[str, Any]:
    """`content` with one value changed, as `training.lr=1e-3` says; the value is YAML."""
    path, equals, text = assignment.partition("=")
    if not equals or not path:
        raise PerrinError(f"--set {assignment!r}: write section.key=value, such as training.lr=1e-3")
    try:
        value = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise PerrinError(f"--set {assignment!r}: the value is not YAML") from error
    for key in reversed(path.split(".")):
        value = {key: value}
    return merge(content, value)


def validate(content: Mapping[str, Any]) -> Recipe:
    """The recipe of a mapping.

    Raises:
        PerrinError: an unknown key (with the nearest right one), or a value of a wrong type.
    """
    _known_keys(content, Recipe, "recipe")
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise PerrinError(first_line(error, "recipe")) from error


def _known_keys(content: Mapping[str, Any], model: type[BaseModel], where: str) -> None:
    known = list(model.model_fields)
    if model is Objective:
        known += schema_of(objectives[str(content.get("name", "denoising"))]).model_fields
    for key, value in content.items():
        if key not in known:
            raise unknown(f"{where}: key", key, dict.fromkeys(known))
        inner = model.model_fields[key].annotation if key in model.model_fields else None
        if isinstance(inner, type) and issubclass(inner, BaseModel) and isinstance(value, Mapping):
            _known_keys(value, inner, f"{where}.{key}")


def dump(recipe: Recipe) -> str:
    """The recipe as YAML; reading it back gives the same recipe."""
    return yaml.dump(recipe.model_dump(mode="json"), Dumper=_Dumper, sort_keys=False, allow_unicode=True)
