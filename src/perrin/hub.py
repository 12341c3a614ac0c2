"""Models on a Hub, through huggingface_hub: ids such as "someone/digits", `HF_ENDPOINT` for one's own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from perrin.errors import PerrinError

PATTERNS = ["model.json", "model.safetensors", "README.md", "recipe.yaml", "metrics.json"]
"""The files of a model: what is pushed and fetched. A wildcard would match inside `state/` too."""

_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w./-]+)?")


def is_id(text: str) -> bool:
    """Whether a text has the form of a Hub id, OWNER/NAME or OWNER/NAME@REVISION."""
    return _ID.fullmatch(text) is not None


def download(name: str) -> Path:
    """The local folder of a model on the Hub; what is in the cache already is not fetched again.

    Raises:
        PerrinError: no such model, or no way to the Hub.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    repository, _, revision = name.partition("@")
    try:
        return Path(snapshot_download(repository, revision=revision or None, allow_patterns=PATTERNS))
    except (HfHubHTTPError, HFValidationError, OSError) as error:  # OSError: offline, or no such entry
        raise PerrinError(
            f"no folder {name!r}, and the Hub gave no model of that name ({_first_line(error)})"
        ) from error


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
