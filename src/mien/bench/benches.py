"""The literal table of benches (torch is imported when one runs)."""

from __future__ import annotations

import importlib
from typing import Any

from mien.core.config import suggest
from mien.core.errors import ConfigError

BENCHES = {
    "car": ("mien.bench.car_speed", "one photograph to an avatar's GLB; the octree beside the dense grid"),
    "cqil": ("mien.bench.cqil_speed", "liveness of a far face as a graph over torch; its super-resolution"),
    "engine": ("mien.bench.engine_step", "step and waiting for data"),
    "fm_vit": ("mien.bench.fm_vit_speed", "any subset of three cameras over a fixed fusion of all"),
    "gkd": ("mien.bench.gkd_loss", "loss of GKD over its dense-mask form and over KD"),
    "igc_net": ("mien.bench.igc_net_speed", "faces taken apart and drawn over a mesh rasteriser's step"),
    "ncl": ("mien.bench.ncl_loss", "NCL++ loss over cross-entropy"),
    "otavatar": ("mien.bench.otavatar_speed", "a talking avatar's frames over the eager path, batch 1"),
    "partial_fc": ("mien.bench.partial_fc_speed", "a sampled class layer over a full one, two processes"),
    "pad": ("mien.bench.pad_report", "report of presentation attack detection over a loop of thresholds"),
    "people": ("mien.bench.people_speed", "pictures of made people, by size and stage"),
    "render": ("mien.bench.render_speed", "a moving body drawn, beside other renderers"),
    "phycine": ("mien.bench.phycine_speed", "colliding charges beside pymunk; clips drawn and explained"),
    "sagm": ("mien.bench.sagm_step", "SAM, GSAM and SAGM steps over a plain one"),
    "verification": ("mien.bench.verification_speed", "the IJB-C protocol beside NumPy and scikit-learn"),
}


def run_bench(name: str) -> dict[str, Any]:
    """Runs one bench of the table: ``{"bench", "machine", "entries", "ratios"}``.

    Raises:
        ConfigError: unknown.
    """
    from mien.engine.runlog import machine

    if name not in BENCHES:
        raise ConfigError(f"no bench {name!r}{suggest(name, list(BENCHES))}")
    entries, ratios = importlib.import_module(BENCHES[name][0]).bench()
    return {"bench": name, "machine": machine(), "entries": entries, "ratios": ratios}
