"""The part of mien that a module needs, found by following imports: for programs that run without mien."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from mien.core.errors import DataError

ROOT = Path(__file__).resolve().parents[2]
"""The folder that holds ``mien``."""


def _imported(tree: ast.AST) -> Iterator[str]:
    """Modules of mien that a file imports when it runs, inside functions too; not those for types only."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "mien":
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "mien")
        yield from _imported(node)


def needed(module: str) -> dict[str, Path]:
    """Module name -> file, of the module and of all of mien that it needs. O(lines of those files).

    Args:
        module: for example ``mien.challenge.program``.

    Raises:
        DataError: no such module.
    """
    found: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = ROOT / Path(*name.split(".")).with_suffix(".py")
        if name in found or not path.is_file():
            continue  # a package, or a name inside a module
        found[name] = path
        waiting += _imported(ast.parse(path.read_text("utf-8")))
    if module not in found:
        raise DataError(f"no module {module} in {ROOT}")
    return dict(sorted(found.items()))


def copy_needed(module: str, folder: Path) -> list[str]:
    """Writes those files below ``folder`` as packages whose ``__init__`` are empty; the paths written.

    Args:
        module: see `needed`.
        folder: gets ``mien/...``.
    """
    written = set()
    for name, path in needed(module).items():
        parts = name.split(".")
        target = folder / Path(*parts).with_suffix(".py")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
        written.add(target)
        for depth in range(1, len(parts)):
            init = folder / Path(*parts[:depth]) / "__init__.py"
            init.touch()
            written.add(init)
    return sorted(str(path.relative_to(folder)) for path in written)
