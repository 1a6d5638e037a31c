"""``mien VERB ...``: finds the verb, runs it, and turns every error into one clear line."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import traceback
from collections.abc import Sequence

from mien import __version__
from mien.core.config import suggest
from mien.core.errors import ConfigError, MienError

VERBS = {
    "list": ("list_", "the ten systems: family, paper, weights, claims"),
    "demo": ("demo", "run the shipped models on bundled or your own input; writes out/demo/index.html"),
    "train": ("train", "train a method"),
    "eval": ("eval_", "the method's own protocol on its test data"),
    "predict": ("predict", "run a model on your files"),
    "inspect": ("inspect_", "a method's diagnostics"),
    "reproduce": ("reproduce", "train what is missing, measure, print the table and each claim's verdict"),
    "results": ("results", "tables and claims from committed results; --check, --strict"),
    "export": ("export", "ONNX graphs, with parity on real inputs, task metric and speed of both"),
    "convert": ("convert", "other people's weights to safetensors, nothing executed"),
    "bench": ("bench", "speed and memory beside a named reference in the same run"),
    "data": ("data", "list, check and make data sets"),
    "sweep": ("sweep", "equal-budget random search on this machine or a Ray cluster"),
    "challenge": ("challenge", "run a face anti-spoofing challenge"),
    "studio": ("studio", "the web page, on this machine"),
    "doctor": ("doctor", "versions, devices, threads, paths, what is missing"),
}

SPINS = "30000"
"""Turns in which an idle thread of GNU OpenMP waits awake, a tenth of its own: less than a millisecond.

With more, torch's threads hold the cores while compiled code (renderers) works between torch's operations."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code: 0, 1 for a failure, 2 for wrong use.

    Args:
        argv: words after ``mien``; default those of the process.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", SPINS)  # read when torch is loaded, which is later
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    words = [w for w in words if w != "--debug"]
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    if not words or words[0] in ("-h", "--help", "help"):
        _say(_usage(), sys.stdout)
        return 0 if words else 2
    if words[0] == "--version":
        _say(__version__, sys.stdout)
        return 0
    try:
        if words[0] not in VERBS:
            raise ConfigError(f"no verb {words[0]!r}{suggest(words[0], list(VERBS))}")
        module = importlib.import_module(f"mien.cli.{VERBS[words[0]][0]}")
        return int(module.run(words[1:]))
    except MienError as error:
        if debug:
            traceback.print_exc()
        _say(f"mien {words[0]}: {error}", sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        _say(f"mien {words[0]}: interrupted", sys.stderr)
        return 130
    except SystemExit as leaving:  # the flag parser has said what is wrong
        return leaving.code if isinstance(leaving.code, int) else 2
    except Exception as error:
        if debug:
            traceback.print_exc()
        _say(
            f"mien {words[0]}: unexpected {type(error).__name__}: {error}; run again with --debug", sys.stderr
        )
        return 1


def _usage() -> str:
    lines = [f"  {verb:<10} {text}" for verb, (_, text) in VERBS.items()]
    return "\n".join(
        ["usage: mien VERB ...   (mien VERB --help for its flags; --debug shows tracebacks)", "", *lines]
    )


def _say(text: str, stream: object) -> None:
    # A line feed in a file name must not make two lines of an error.
    text = text.replace("\n", "\\n") if stream is sys.stderr else text
    line = text.encode("utf-8", "backslashreplace").decode("utf-8", "replace")
    print(line, file=stream)  # type: ignore[call-overload]


def script() -> None:
    """The console script."""
    sys.exit(main())
