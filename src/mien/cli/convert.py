"""``mien convert KIND FILE``."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mien.cli import console
from mien.core.errors import ConfigError

KINDS = {
    "torch": ("a PyTorch .pt/.pth/.ckpt file of tensors", "mien.engine.convert:convert_torch"),
    "eg3d": ("a network pickle of EG3D", "mien.methods.otavatar.convert:convert_eg3d"),
}
"""Kind -> what it is, and the function (source, target) -> (target, number of tensors)."""


@dataclass(frozen=True)
class Options:
    """Other people's weights to safetensors; nothing in the file is executed. mien convert torch FILE."""

    output: Path | None = None
    """File to write; default beside the input, with the suffix .safetensors."""


def run(argv: Sequence[str]) -> int:
    """Converts one file."""
    words = list(argv)
    named = [words.pop(0) for _ in range(2) if words and not words[0].startswith("-")]
    options = console.parse(Options, words, "convert")
    if len(named) < 2:
        raise ConfigError(
            f"mien convert KIND FILE; kinds: {', '.join(f'{k} ({v})' for k, (v, _) in KINDS.items())}"
        )
    console.check_name("kind", named[0], list(KINDS))
    module, _, name = KINDS[named[0]][1].partition(":")
    convert = getattr(importlib.import_module(module), name)
    source = Path(named[1])
    target, count = convert(source, options.output or source.with_suffix(".safetensors"))
    console.show(f"{target}: {count} tensors")
    return 0
