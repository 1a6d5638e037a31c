from __future__ import annotations

import pytest

from mien.core import limits
from mien.core.errors import ConfigError

BOUNDS = {
    "MIEN_MAX_IMAGE_BYTES": (limits.max_image_bytes, 64 * 2**20),
    "MIEN_MAX_IMAGE_PIXELS": (limits.max_image_pixels, 50_000_000),
    "MIEN_MAX_TEXT_BYTES": (limits.max_text_bytes, 512 * 2**20),
    "MIEN_MAX_ARRAY_BYTES": (limits.max_array_bytes, 4 * 2**30),
}


@pytest.mark.parametrize("name", list(BOUNDS))
def test_each_bound_has_a_default_and_its_variable(name, monkeypatch):
    bound, default = BOUNDS[name]
    monkeypatch.delenv(name, raising=False)
    assert bound() == default
    monkeypatch.setenv(name, "")
    assert bound() == default
    monkeypatch.setenv(name, "123")
    assert bound() == 123


@pytest.mark.parametrize("name", list(BOUNDS))
@pytest.mark.parametrize("text", ["0", "-1", "many", "1.5", "1e9", "nan"])
def test_a_variable_that_is_no_bound(name, text, monkeypatch):
    monkeypatch.setenv(name, text)
    with pytest.raises(ConfigError, match=f"{name}={text!r}"):
        BOUNDS[name][0]()
