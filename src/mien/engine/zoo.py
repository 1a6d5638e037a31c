"""Weights by name: shipped ones, a local folder, or a hub id. Only safetensors are ever opened."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mien.core import io
from mien.core.catalogue import method as method_entry
from mien.core.catalogue import methods
from mien.core.config import suggest
from mien.core.errors import WeightsError
from mien.core.shipped import shipped
from mien.engine.folder import ModelFolder, open_folder

_FILES = ("weights.safetensors", "config.toml", "facts.json", "card.md")


def resolve(name: str) -> Path:
    """The folder of some weights.

    Args:
        name: a local folder; ``method`` (its ``demo`` weights where there are any, else ``small``);
            ``method/tag``; or a hub id ``owner/repo``.

    Raises:
        WeightsError: nothing of that name, with the nearest one.
    """
    local = Path(name).expanduser()
    if local.exists():
        return local
    known = shipped()
    full = name
    if name in methods():
        full = f"{name}/demo" if f"{name}/demo" in known else f"{name}/small"
    if full in known:
        _verify(known[full])
        return known[full]
    if full.split("/")[0] in methods() or not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise WeightsError(f"no weights {name!r}{suggest(full, list(known))}")
    return _from_hub(name)


def _verify(folder: Path) -> None:
    """Compares shipped weights with the SHA-256 beside them."""
    expected = io.read_text(folder / "weights.sha256").split()[0]
    if io.sha256(folder / "weights.safetensors") != expected:
        raise WeightsError(f"{folder}: shipped weights do not match weights.sha256; reinstall mien")


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=list(_FILES)))
    except (LocalEntryNotFoundError, RepositoryNotFoundError, HfHubHTTPError, OSError) as error:
        first = str(error).strip().splitlines()[0][:160] if str(error).strip() else type(error).__name__
        raise WeightsError(
            f"{name!r} is neither shipped ({', '.join(shipped())}) nor a folder, nor on the hub ({first})"
        ) from None


def load_folder(name: str) -> ModelFolder:
    """`resolve`, then config and facts."""
    return open_folder(resolve(name))


def load_predictor(name: str) -> Any:
    """The predictor of some weights (see `resolve`)."""
    folder = load_folder(name)
    return method_entry(folder.method).load("predict").Predictor.from_folder(folder)


def load_folder_of(method: str, name: str) -> ModelFolder:
    """`load_folder`, refusing weights of another method.

    Raises:
        WeightsError: they belong to another method.
    """
    folder = load_folder(name)
    if folder.method != method:
        raise WeightsError(
            f"{name}: weights of {folder.method}, not of {method}; use mien VERB {folder.method}"
        )
    return folder
