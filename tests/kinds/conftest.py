"""Small real files for the tests of kinds of data, and the folder of sample datasets where it is present."""

import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

DATA = Path(os.environ.get("PERRIN_DATA", Path(__file__).parents[3] / "shared" / "data"))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERRIN_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def sample_data() -> Callable[[str], Path]:
    """Path of a sample dataset; the test is skipped where it is absent."""

    def path(name: str) -> Path:
        if not (DATA / name).exists():
            pytest.skip(f"sample data {name} are not present (PERRIN_DATA names their folder)")
        return DATA / name

    return path


@pytest.fixture
def noise() -> Callable[..., np.ndarray]:
    """Random pixels of a shape: every one of them matters, so a shifted or lost row shows."""

    def pixels(*shape: int, seed: int = 0) -> np.ndarray:
        return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)

    return pixels


@pytest.fixture
def write_png() -> Callable[[Path, np.ndarray], Path]:
    """Write pixels as a PNG, with the folders above it."""

    def write(path: Path, pixels: np.ndarray) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
        return path

    return write


@pytest.fixture
def png_bytes() -> Callable[[np.ndarray], bytes]:
    """Pixels as the bytes of a PNG file."""

    def encode(pixels: np.ndarray) -> bytes:
        out = io.BytesIO()
        Image.fromarray(pixels).save(out, "PNG")
        return out.getvalue()

    return encode
