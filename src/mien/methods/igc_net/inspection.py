"""``mien inspect igc_net``: whether parts live, the face is solid and swaps do what they should."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mien.core import figures, io
from mien.data.capsule_loader import capsule_batch
from mien.data.capsule_sets import capsule_set
from mien.engine.folder import ModelFolder
from mien.engine.show import Inspection
from mien.methods.igc_net.capsules import ObjectCapsule
from mien.methods.igc_net.edits import assembly_of, one_of, swap_part
from mien.methods.igc_net.evaluate import restore, some_of
from mien.methods.igc_net.model import IGCNet
from mien.methods.igc_net.options import InspectOptions
from mien.methods.igc_net.pictures import COLUMNS, face_row
from mien.methods.igc_net.task import configs
from mien.methods.igc_net.watchers import health, part_shares

ROWS = 8
"""Faces of the figure."""


def inspect(folder: ModelFolder, options: InspectOptions) -> Inspection:
    """Health of a trained net on pictures that it was not trained on. O(n (encode + M render))."""
    net = restore(folder)
    _, data = configs(folder.recipe)
    faces = some_of(capsule_set(data, options.split), options.pictures)
    image = capsule_batch(faces, np.arange(len(faces), dtype=np.int64)).image.to(net.tau.device)
    with torch.no_grad():
        obj = net.encode(image)
        shown = net.render(obj)
        state = health(obj.depth, obj.visibility)
        table = part_table(obj, part_shares(shown.visibility), swap_matrix(net, obj))
    facts: dict[str, Any] = {
        "pictures": len(faces),
        "parts": len(obj.parts),
        "dead": ", ".join(map(str, state.dead)) or "none",
        "dome": round(state.dome, 3),
        "hollow": state.hollow,
        "area": round(state.area, 3),
        "collapsed": state.collapsed,
        "yaw_deviation": round(float(torch.rad2deg(obj.view[:, 1]).std()), 2),
        "pitch_deviation": round(float(torch.rad2deg(obj.view[:, 0]).std()), 2),
        "reconstruction_error": round(float((shown.image - image).abs().mean()), 4),
        "tau": round(float(net.tau), 4),
    }
    rows = [(f"{k}", face_row(net, faces.pictures[k], one_of(obj, k))) for k in range(min(ROWS, len(faces)))]
    path = io.write_bytes(Path(options.output) / "faces.png", figures.picture_rows(rows, COLUMNS))
    return Inspection(facts, {"parts": table}, (path,))


@torch.no_grad()
def swap_matrix(net: IGCNet, obj: ObjectCapsule) -> NDArray[np.float64]:
    """(M, M + 1) what swapping part i with the next face's changes where layer j is seen, the background 0.

    Mean absolute difference of the picture, 0 to 1, over pixels where layer j wins. A part that is apart from
    the others changes its own region only. O(M n render).
    """
    order = torch.arange(1, len(obj.depth) + 1, device=obj.depth.device) % len(obj.depth)
    other = obj._replace(parts=[type(p)(*(x[order] for x in p)) for p in obj.parts])
    before, layers = net.render(obj), len(obj.parts) + 1
    won = before.visibility.argmax(1)
    out = np.zeros((len(obj.parts), layers))
    for i in range(len(obj.parts)):
        after = net.render(swap_part(obj, other, i, assembly_of(net))).image
        change = (after - before.image).abs().mean(1)
        for j in range(layers):
            own = won == j
            out[i, j] = float(change[own].mean()) if bool(own.any()) else 0.0
    return out


def part_table(obj: ObjectCapsule, shares: torch.Tensor, swaps: NDArray[np.float64]) -> list[dict[str, Any]]:
    """One row for each part: share of pixels, depth, albedo, and what swapping it changes."""
    rows = []
    for m, part in enumerate(obj.parts):
        own = obj.visibility.argmax(1) == m + 1
        some = bool(own.any())
        colour = part.albedo.movedim(1, -1)[own].mean(0).tolist() if some else []
        elsewhere = np.delete(swaps[m], [0, m + 1])
        rows.append({
            "part": m,
            "share": round(float(shares[m]), 4),
            "depth": round(float(part.depth[own].mean()), 4) if some else None,
            "albedo": " ".join(f"{v:.2f}" for v in colour),
            "spread_of_shape": round(float(part.code_shape.std(0).mean()), 4),
            "swap_changes_it": round(float(swaps[m, m + 1]), 4),
            "swap_changes_others": round(float(elsewhere.mean()), 4) if len(elsewhere) else 0.0,
        })  # fmt: skip
    return rows
