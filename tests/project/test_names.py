"""Names: no file bears the name of a public object of its package, and every registered name resolves."""

import importlib
import inspect
import pkgutil
from pathlib import Path
from types import ModuleType

import pytest

import perrin
from perrin import registry

PACKAGES = ["perrin"] + [
    found.name for found in pkgutil.walk_packages(perrin.__path__, "perrin.") if found.ispkg
]
ENTRIES = [
    pytest.param(book, entry, id=f"{name}-{entry}")
    for name, book in vars(registry).items()
    if isinstance(book, registry.Registry)
    for entry in book
]


@pytest.mark.parametrize("name", PACKAGES)
def test_no_file_bears_the_name_of_a_public_object_of_its_package(name):
    package = importlib.import_module(name)
    stems = {path.stem for folder in package.__path__ for path in Path(folder).iterdir()}
    exported = getattr(package, "__all__", None) or [public for public in vars(package) if public[0] != "_"]
    objects = {public for public in exported if not isinstance(getattr(package, public), ModuleType)}
    assert not stems & objects


@pytest.mark.parametrize("name", PACKAGES)
def test_every_exported_name_exists(name):
    package = importlib.import_module(name)
    for public in getattr(package, "__all__", []):
        assert hasattr(package, public)


@pytest.mark.parametrize(("book", "entry"), ENTRIES)
def test_every_registered_name_resolves_and_says_what_it_is(book, entry):
    thing = book[entry]
    assert inspect.getdoc(thing), f"{book.noun} {entry!r} has no docstring"


@pytest.mark.parametrize("name", PACKAGES)
def test_every_public_object_has_a_docstring(name):
    package = importlib.import_module(name)
    for public in getattr(package, "__all__", []):
        thing = getattr(package, public)
        if inspect.isclass(thing) or inspect.isfunction(thing) or inspect.ismodule(thing):
            assert inspect.getdoc(thing), f"{name}.{public} has no docstring"
