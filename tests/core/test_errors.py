from __future__ import annotations

import json

import pytest

from mien.core import errors
from mien.core.errors import ConfigError, DataError, LimitError, MienError, ShapeError, WeightsError, require


def test_one_hierarchy():
    for kind in (ConfigError, DataError, WeightsError, ShapeError, LimitError):
        assert issubclass(kind, MienError)
    assert issubclass(LimitError, DataError)
    raised = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, Exception)]
    assert all(issubclass(e, MienError) for e in raised)


def test_exit_codes():
    """2 for wrong use, 1 for failure."""
    assert ConfigError.exit_code == 2
    assert {e.exit_code for e in (MienError, DataError, WeightsError, ShapeError, LimitError)} == {1}


def test_require():
    assert require("json", extra="export") is json
    with pytest.raises(
        ConfigError, match=r"no_such_package is not installed.*pip install 'mien\[export\]'"
    ) as caught:
        require("no_such_package", extra="export")
    assert isinstance(caught.value.__cause__, ImportError)
