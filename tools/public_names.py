"""Writes tests/public_names.txt: the names that packages of mien show. tests/test_public_names.py compares.

    python tools/public_names.py

A name that goes away breaks somebody's program: say so in the changelog when this list is written anew.
"""

from __future__ import annotations

import importlib
from pathlib import Path

import mien

LIST = Path(__file__).parents[1] / "tests" / "public_names.txt"


def public_names() -> list[str]:
    """``package.name`` of what mien and its lazy packages have in ``__all__``, sorted; loads no torch."""
    source = Path(mien.__file__).parent
    stubs = sorted(source.rglob("__init__.pyi"))
    packages = ["mien", *(".".join(("mien", *p.parent.relative_to(source).parts)) for p in stubs)]
    return sorted(
        f"{package}.{name}" for package in packages for name in importlib.import_module(package).__all__
    )


if __name__ == "__main__":
    names = public_names()
    LIST.write_text("".join(f"{name}\n" for name in names))
    print(f"{LIST}: {len(names)} names")
