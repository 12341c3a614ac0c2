"""Pretrained folders, each made once."""

import pytest
from tests.systems.latent import making


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """name -> (pipeline, folder)."""
    made = {}

    def get(name):
        if name not in made:
            pipeline = making.seeded(getattr(making, name))
            folder = tmp_path_factory.mktemp(name)
            pipeline.save_pretrained(folder)
            made[name] = pipeline, folder
        return made[name]

    return get
