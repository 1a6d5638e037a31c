"""One hierarchy of errors; a message says what is wrong, where, and what to do."""

from __future__ import annotations

import importlib
from types import ModuleType


class MienError(Exception):
    """Base of every error that a user can cause or mend; the command line prints it as one line."""

    exit_code = 1


class ConfigError(MienError):
    """A setting is unknown, out of range, or does not apply (wrong use: exit code 2)."""

    exit_code = 2


class MissingPackageError(ConfigError):
    """An optional package is needed here and not installed."""


class DataError(MienError):
    """A data set, list or picture is missing, damaged, or not what its format says."""


class WeightsError(MienError):
    """Weights or a checkpoint cannot be read, or belong to another model."""


class ShapeError(MienError):
    """An array has another shape or type than the function expects."""


class LimitError(DataError):
    """An input is larger than the limits in `mien.core.limits` allow."""


def require(package: str, *, extra: str) -> ModuleType:
    """Imports an optional package, or says which extra of mien brings it.

    Args:
        package: import name, for example ``"onnxruntime"``.
        extra: the extra of mien that installs it.

    Raises:
        MissingPackageError: the package is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise MissingPackageError(
            f"{package} is not installed; it is needed here: pip install 'mien[{extra}]'"
        ) from error
