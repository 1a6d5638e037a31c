"""numba's ``njit``, or the plain function where numba cannot be imported: a hundred times slower."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

try:
    from numba import njit
except ImportError:
    logging.getLogger(__name__).warning(
        "numba cannot be imported: made people are drawn by plain Python, a hundred times slower;"
        " pip install numba"
    )

    def njit(  # type: ignore[no-redef]
        *functions: Callable[..., Any], **options: Any
    ) -> Any:
        """Leaves a function as it is."""
        return functions[0] if functions else lambda function: function


__all__ = ["njit"]
