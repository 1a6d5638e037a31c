"""``mien predict METHOD INPUT ...``."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from mien.cli import console
from mien.core.errors import ConfigError


def run(argv: Sequence[str]) -> int:
    """Runs a model on the user's files; flags come from the method's PredictOptions."""
    from mien.core.catalogue import method as entry_of

    method, rest = console.take_method(argv, "predict")
    as_json, rest = console.take_switch(rest, "--json")
    weights, rest = console.take(rest, "--weights", method)
    output, rest = console.take(rest, "--output")
    entry = entry_of(method)
    config = entry.load("config")
    words, flags = _leading(rest), rest[len(_leading(rest)) :]
    if output and "output" in config.PredictOptions.__dataclass_fields__:  # it writes files of its own
        flags = [*flags, "--output", output]
    options = console.parse(
        config.PredictOptions,
        flags,
        f"predict {method}",
        description=f"mien predict {method} INPUT ... [--weights NAME or DIR] [--output DIR] [--json] and:",
    )
    whole = getattr(config.PredictOptions, "folder_is_input", False)
    files = [f for word in words for f in ([Path(word)] if whole else _expand(Path(word)))]
    # Options may name their own pictures: these are one input then.
    pictures = getattr(options, "pictures", None)
    named: Mapping[str, str] = pictures() if pictures else {}
    if not files and not named:
        more = f" or pictures by flags: mien predict {method} --help" if pictures else ""
        raise ConfigError(f"no input: mien predict {method} FILE ... (flags come after the files){more}")
    if files and named:
        flag = next(iter(named))
        raise ConfigError(f"{words[0]} and --{flag}: give files before the flags, or all pictures by flags")
    from mien.engine.predictor import default_device
    from mien.engine.zoo import load_folder_of

    began = time.perf_counter()
    folder = load_folder_of(method, str(weights))
    predictor = entry.load("predict").Predictor.from_folder(folder)
    results = predictor.predict(*files, options=options)
    inputs: Sequence[object] = [str(f) for f in files] if files else [dict(named)]
    items = [{"input": f, **console.plain(r)} for f, r in zip(inputs, results, strict=True)]
    answer = {
        "method": method,
        "weights": weights,
        "data": folder.facts.get("data", {}),
        "result": {"items": items},
        "seconds": round(time.perf_counter() - began, 3),
        "device": str(default_device()),
    }
    if output:
        from mien.core import io

        io.write_json(Path(output) / "predict.json", console.plain(answer))
    if as_json:
        console.out_json(answer)
    else:
        for item in items:
            console.show(_line(item))
    return 0


def _leading(words: list[str]) -> list[str]:
    out = []
    for word in words:
        if word.startswith("-"):
            break
        out.append(word)
    return out


def _expand(path: Path) -> list[Path]:
    """A folder stands for its pictures, in order of name."""
    from mien.core.images import SUFFIXES

    if not path.is_dir():
        return [path]
    files = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES)
    if not files:
        raise ConfigError(f"{path}: no pictures in this folder")
    return files


_NOTHING: tuple[object, ...] = (None, [], "", False)
_VERDICTS = ("same", "known", "live")
"""Fields whose False is an answer."""


def _line(item: dict[str, object]) -> str:
    shown = {k: v for k, v in item.items() if (k in _VERDICTS and v is not None) or v not in _NOTHING}
    given = shown.pop("input")
    name = " + ".join(given.values()) if isinstance(given, dict) else given
    return f"{name}: " + ", ".join(f"{k} {_short(v)}" for k, v in shown.items())


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return "[" + ", ".join(_short(v) for v in value) + "]"
    if isinstance(value, dict):
        return " ".join(f"{k} {_short(v)}" for k, v in value.items())
    return str(value)
