"""`import perrin` and `perrin --help` are instant and load no torch."""

import os
import subprocess
import sys

import pytest

HEAVY = ("torch", "numpy", "scipy", "sklearn", "matplotlib", "pydantic", "PIL", "huggingface_hub")
LOADED = f"import sys; loaded = [name for name in {HEAVY!r} if name in sys.modules]"


def python(code: str) -> tuple[str, float]:
    """The output of `code` in a process of its own, and the CPU-seconds that it took."""
    before = os.times()
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    after = os.times()
    seconds = after.children_user + after.children_system - before.children_user - before.children_system
    return done.stdout, seconds


def fastest(code: str, tries: int = 3) -> float:
    """The least CPU-seconds of a few runs: the first one may have to compile, and the machine may be busy."""
    return min(python(code)[1] for _ in range(tries))


HELP = "from perrin.cli.entry import main; main(['--help'])"


def test_import_loads_nothing_heavy():
    assert python(f"import perrin; {LOADED}; print(loaded)")[0].strip() == "[]"


def test_help_loads_nothing_heavy():
    assert python(f"{HELP}; {LOADED}; print(loaded)")[0].splitlines()[-1] == "[]"


@pytest.mark.parametrize("code", ["import perrin", HELP], ids=["import", "help"])
def test_start_takes_under_half_a_cpu_second(code):
    assert fastest(code) < 0.5


def test_sub_packages_and_verbs_are_attributes():
    code = "import perrin; print(perrin.process.vp().__class__.__name__, callable(perrin.train))"
    assert python(code)[0].split()[-1] == "True"


def test_an_unknown_attribute_is_an_attribute_error():
    import perrin

    with pytest.raises(AttributeError, match="no attribute 'nothing_of_the_kind'"):
        _ = perrin.nothing_of_the_kind
