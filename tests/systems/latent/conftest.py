"""Pretrained folders, each made once."""

from importlib import import_module
from pathlib import Path

import pytest
from tests.systems.latent import making


def builder(name):
    """The function of that name in one of the files making*.py here."""
    for file in sorted(Path(__file__).parent.glob("making*.py")):
        found = getattr(import_module(f"tests.systems.latent.{file.stem}"), name, None)
        if found is not None:
            return found
    raise LookupError(f"no file making*.py has a function {name}")


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """name -> (pipeline, folder)."""
    made = {}

    def get(name):
        if name not in made:
            pipeline = making.seeded(builder(name))
            folder = tmp_path_factory.mktemp(name)
            pipeline.save_pretrained(folder)
            made[name] = pipeline, folder
        return made[name]

    return get
