"""What must hold of the made anti-spoofing data: no shortcut in colour, depth blind to soft masks."""

from __future__ import annotations

import numpy as np
import pytest

from mien.core.seeds import derive
from mien.synth.attacks import SPECIES, present
from mien.synth.audit import held_out_auc, relief, shortcut_audit
from mien.synth.sensors import Sensor


@pytest.fixture(scope="module")
def samples():
    """25 subjects, 8 live and 8 attacks each, 32 px."""
    out, kinds, who = [], [], []
    for n in range(25):
        subject = derive(77, "identity", n)
        for k in range(16):
            species = "live" if k % 2 else SPECIES[(n + k // 2) % len(SPECIES)]
            seed = derive(subject, "sample", k)
            scene = present(subject, species, 32, seed)
            seen = Sensor.device(k % 3).capture(scene, seed)
            out.append((seen.rgb, seen.depth, seen.ir, scene.face))
            kinds.append(species)
            who.append(n)
    return out, kinds, who


@pytest.mark.slow
def test_trivial_statistics_of_colour_are_near_chance(samples):
    found = shortcut_audit(*samples)
    assert found["rgb"] < 0.65
    assert found["relief_flat"] > 0.97


@pytest.mark.slow
def test_depth_is_blind_to_rigid_and_soft_masks_but_not_to_prints(samples):
    out, kinds, who = samples
    shape = np.array([relief(s[1], s[3]) for s in out])
    kind, subject = np.array(kinds), np.array(who)
    live = kind == "live"
    for names, low, high in (
        (("mask_silicone", "mask_latex", "mask_resin"), 0.0, 0.66),
        (("print_flat", "print_bent", "replay"), 0.97, 1.0),
    ):
        own = live | np.isin(kind, names)
        assert low <= held_out_auc(shape[own], live[own], subject[own]) <= high


@pytest.mark.slow
def test_infrared_tells_screens_and_dye_from_skin(samples):
    """A screen is dark, a dye print nearly blank: the face has less infrared contrast than a live one."""
    out, kinds, _ = samples
    dark = [float(np.median(s[2][s[3]])) for s, k in zip(out, kinds, strict=True) if k == "replay"]
    live = [float(np.median(s[2][s[3]])) for s, k in zip(out, kinds, strict=True) if k == "live"]
    assert np.median(dark) < 0.4 * np.median(live)
    spread = {
        k: [float(s[2][s[3]].std() / s[2][s[3]].mean()) for s, kk in zip(out, kinds, strict=True) if kk == k]
        for k in ("live", "print_flat")
    }
    assert np.median(spread["print_flat"]) < np.median(spread["live"])
