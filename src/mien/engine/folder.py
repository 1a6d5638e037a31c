"""A trained model on disk: weights.safetensors, config.toml, facts.json; runs and shipped weights alike."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mien.core import io
from mien.core.catalogue import method as method_entry
from mien.core.config import Recipe, read_recipe_file, recipe_from_dict
from mien.core.errors import WeightsError


@dataclass(frozen=True)
class ModelFolder:
    """Where a trained model lies and what it was made of."""

    path: Path
    method: str
    recipe: Recipe
    facts: dict[str, Any]

    @property
    def weights(self) -> Path:
        """The safetensors file."""
        return self.path / "weights.safetensors"


def open_folder(path: str | Path) -> ModelFolder:
    """Reads config and facts of a model folder; the weights are read by the method.

    Raises:
        WeightsError: not a model folder, or an unfinished run.
    """
    path = Path(path)
    if path.is_file():
        from mien.engine.safe import check_safetensors

        check_safetensors(path)
        raise WeightsError(
            f"{path}: a single file; give the folder that also holds config.toml and facts.json"
        )
    if not (path / "config.toml").is_file():
        raise WeightsError(f"{path}: no config.toml; not the folder of a mien model")
    if not (path / "weights.safetensors").is_file() or not (path / "facts.json").is_file():
        raise WeightsError(
            f"{path}: no weights yet (an unfinished run?); go on with: mien train --resume {path}"
        )
    method, recipe = read_recipe(path / "config.toml")
    facts = io.read_json(path / "facts.json")
    if not isinstance(facts, dict) or not facts:
        raise WeightsError(f"{path}/facts.json: holds no facts of a model; restore it or train again")
    return ModelFolder(path, method, recipe, facts)


def read_recipe(path: Path) -> tuple[str, Recipe]:
    """The method and recipe of a ``config.toml``."""
    method, values = read_recipe_file(path)
    base = next(iter(method_entry(method).load("config").RECIPES.values()))()
    return method, recipe_from_dict(values, base, where=str(path))
