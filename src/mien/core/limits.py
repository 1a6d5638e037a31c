"""Bounds on what is read from a user's disk. Each can be raised by its environment variable."""

from __future__ import annotations

import os

from mien.core.errors import ConfigError


def _bound(name: str, default: int) -> int:
    text = os.environ.get(name, "")
    try:
        value = int(text) if text else default
    except ValueError:
        raise ConfigError(f"environment variable {name}={text!r} is not a whole number") from None
    if value <= 0:
        raise ConfigError(f"environment variable {name}={text!r} must be positive")
    return value


def max_image_bytes() -> int:
    """Largest picture file that is opened, in bytes (``MIEN_MAX_IMAGE_BYTES``)."""
    return _bound("MIEN_MAX_IMAGE_BYTES", 64 * 2**20)


def max_image_pixels() -> int:
    """Largest picture that is decoded, in pixels (``MIEN_MAX_IMAGE_PIXELS``)."""
    return _bound("MIEN_MAX_IMAGE_PIXELS", 50_000_000)


def max_text_bytes() -> int:
    """Largest list, JSON or TOML file that is parsed, in bytes (``MIEN_MAX_TEXT_BYTES``)."""
    return _bound("MIEN_MAX_TEXT_BYTES", 512 * 2**20)


def max_array_bytes() -> int:
    """Largest array file (IDX, CIFAR batch, npz member) that is read, unpacked (``MIEN_MAX_ARRAY_BYTES``)."""
    return _bound("MIEN_MAX_ARRAY_BYTES", 4 * 2**30)
