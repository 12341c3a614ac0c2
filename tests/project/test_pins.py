"""The pins: constraints.txt covers every dependency, and torch keeps its pinned version with every extra."""

import re
import tomllib
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parents[2]


def canonical(name: str) -> str:
    """The normal form of a distribution's name."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins() -> dict[str, str]:
    """Distribution -> version in constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if not line.startswith("#")]
    return {canonical(name): version for name, version in pairs}


def test_torch_has_its_pinned_version_after_every_extra():
    assert metadata.version("torch").split("+")[0] == pins()["torch"]


def test_every_declared_dependency_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    names = {canonical(re.split(r"[^\w.-]", line, maxsplit=1)[0]) for group in lists for line in group}
    assert names <= set(pins())


def test_no_pin_is_tied_to_one_build():
    assert [name for name, version in pins().items() if "+" in version] == []


def test_nothing_brings_a_second_torch():
    unwanted = {
        "torchvision",
        "torchaudio",
        "timm",
        "open-clip-torch",
        "lpips",
        "clean-fid",
        "torch-fidelity",
    }
    assert not unwanted & set(pins())
