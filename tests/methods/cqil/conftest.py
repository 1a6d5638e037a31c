"""A model of three steps on made noise."""

from __future__ import annotations

import pytest

from mien.core.catalogue import method
from mien.engine.folder import ModelFolder, open_folder
from mien.engine.stages import train_recipe
from mien.methods.cqil.config import RECIPES
from mien.methods.cqil.predict import Predictor


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    path = tmp_path_factory.mktemp("cqil")
    train_recipe(method("cqil"), RECIPES["debug"](), path)
    return open_folder(path)


@pytest.fixture(scope="session")
def predictor(folder: ModelFolder) -> Predictor:
    return Predictor.from_folder(folder)
