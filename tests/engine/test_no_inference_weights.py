"""A net moved to another device in inference mode has weights that nothing can be learnt with afterwards."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import torch
from torch import nn

import mien
from mien.data.config import DomainData
from mien.data.labelled import ArrayImages
from mien.methods.sagm.task import collect_logits

SOURCES = sorted(Path(mien.__file__).parent.rglob("*.py"))


class Watched(nn.Module):
    """Says in which mode it was moved."""

    modes: list[bool]

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.modes = nn.Parameter(torch.zeros(1)), []

    def to(self, *args, **kwargs):
        self.modes.append(torch.is_inference_mode_enabled())
        return super().to(*args, **kwargs)

    def forward(self, x):
        return torch.zeros(len(x), 4) + self.weight


def test_nets_are_moved_outside_of_inference_mode():
    net, data = Watched(), DomainData(kind="debug", size=8)
    images = ArrayImages(
        np.zeros((3, 8, 8, 3), np.uint8), np.zeros(3, np.int64), ["a"], np.arange(3, dtype=np.uint64)
    )
    collect_logits(net, images, data, torch.device("cpu"))
    assert net.modes == [False]


def _moves(function: ast.FunctionDef) -> list[str]:
    """Calls of .to on a net."""
    calls = [n for n in ast.walk(function) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)]
    nets = ("net", "model", "module")
    return [ast.unparse(c) for c in calls if c.func.attr == "to" and ast.unparse(c.func.value) in nets]


def test_no_function_in_inference_mode_moves_a_net():
    found = [
        (path.name, node.name)
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
        and any("inference_mode" in ast.unparse(d) for d in node.decorator_list)
        and _moves(node)
    ]
    assert not found
