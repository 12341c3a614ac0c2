"""Models on a Hub, through huggingface_hub: ids such as "someone/digits", `HF_ENDPOINT` for one's own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from perrin.errors import PerrinError
from perrin.systems.latent.layout import INDEX
from perrin.systems.latent.remote import wanted

PATTERNS = ["model.json", "model.safetensors", "README.md", "recipe.yaml", "metrics.json"]
"""The files of a model of Perrin: what is pushed and fetched. A wildcard would match inside `state/` too."""

_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w./-]+)?")


def is_id(text: str) -> bool:
    """Whether a text has the form of a Hub id, OWNER/NAME or OWNER/NAME@REVISION."""
    return _ID.fullmatch(text) is not None


def download(name: str) -> Path:
    """The local folder of a model on the Hub, also of a pipeline of diffusers; what is in the cache is not fetched again.

    Raises:
        PerrinError: no such model, one that is none, or no way to the Hub.
    """
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    repository, _, revision = name.partition("@")
    try:
        return _fetched(repository, revision or None)
    except (HfHubHTTPError, HFValidationError, OSError) as error:  # OSError: offline, or no such entry
        raise PerrinError(
            f"no folder {name!r}, and the Hub gave no model of that name ({_first_line(error)})"
        ) from error


def _fetched(repository: str, revision: str | None) -> Path:
    from huggingface_hub import HfApi, snapshot_download

    def some(patterns: list[str]) -> Path:
        return Path(snapshot_download(repository, revision=revision, allow_patterns=patterns))

    folder = some(["model.json", INDEX])  # which tell of what layout it is, before anything large
    if (folder / "model.json").is_file():
        return folder if (folder / "model.safetensors").is_file() else some(PATTERNS)
    try:
        files = HfApi().list_repo_files(repository, revision=revision)
    except Exception:  # of whichever client: offline, and what the cache has may be all
        return folder
    return some(wanted(repository, files))


def push(folder: str | Path, name: str, *, private: bool = False, **options: Any) -> str:
    """Upload a model folder (not a run's training state) to the Hub; returns its address.

    Raises:
        PerrinError: a folder without a model, or a Hub that refuses.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    if not (Path(folder) / "model.json").is_file():
        raise PerrinError(f"{folder} is not a model folder: it has no model.json")
    if not is_id(name):
        raise PerrinError(f"{name!r} is not a Hub id; write OWNER/NAME")
    api = HfApi(**options)
    try:
        api.create_repo(name, private=private, exist_ok=True)
        info = api.upload_folder(
            repo_id=name, folder_path=folder, allow_patterns=PATTERNS, commit_message="Perrin model"
        )
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise PerrinError(f"the Hub did not take {name!r}: {_first_line(error)}") from error
    return str(info)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
