from __future__ import annotations

import json

import numpy as np
import pytest

from mien.core.errors import ConfigError, MienError
from mien.synth.comphy_scene import SHOWN, Change
from mien.synth.comphy_set import (
    VIEW,
    WORLD,
    ComPhySet,
    annotation,
    boxes,
    draw_set,
    meetings,
    scene_of,
)
from mien.synth.phys_world import PhysWorld, changed


@pytest.fixture(scope="module")
def sets():
    return [draw_set(seed) for seed in range(30)]


def test_sets_show_what_they_hide(sets):
    """Unique looks, an event in the shown part, every object meets another one in a reference."""
    for drawn in sets:
        things = drawn.scene.things
        assert 3 <= len(things) <= 5
        assert len({t[:3] for t in things}) == len(things)
        assert sum(t.charge != 0 for t in things) in (0, 2)
        met = set()
        for items, clip in drawn.references:
            assert len(items) in (2, 3)
            assert clip.x.shape == (1, 50, len(items), 2)
            assert clip.m[0].tolist() == [things[i].mass for i in items]
            assert clip.q[0].tolist() == [things[i].charge for i in items]
            met |= {items[k] for k in np.flatnonzero(meetings(clip)[0].any(1))}
        assert met == set(range(len(things)))
        assert len(drawn.references) == 4
        target = drawn.target
        assert target.x.shape[1] == 150
        seen_hit = target.hits[:, :SHOWN].any()
        charged = [i for i, t in enumerate(things) if t.charge]
        near = charged and np.linalg.norm(np.diff(target.x[0, :SHOWN, charged], axis=0), axis=-1).min() < 1.5
        assert seen_hit or near


def test_sets_are_not_all_alike(sets):
    assert {len(d.scene.things) for d in sets} == {3, 4, 5}
    assert {sum(t.charge for t in d.scene.things) for d in sets} == {-2, 0, 2}
    later = sum(any(e.frame >= SHOWN for e in d.scene.collisions) for d in sets)
    assert 5 <= later <= 25


def test_counterfactuals_start_alike_and_differ_by_one_property(sets):
    for drawn in sets[:8]:
        things = drawn.scene.things
        expected = {Change(i, "mass", m) for i in range(len(things)) for m in (1, 5)}
        expected |= {Change(i, "charge", q) for i, t in enumerate(things) for q in (0, -t.charge)}
        assert drawn.counterfactuals.keys() == expected == drawn.scene.counterfactuals.keys()
        for change, clip in drawn.counterfactuals.items():
            assert np.array_equal(clip.x[:, 0], drawn.target.x[:, 0])
            objects = changed(drawn.target.objects, 0, change.what, change.item, change.value)
            again = WORLD.run(drawn.target.x[:, 0], drawn.target.v[:, 0], objects, 150)
            assert np.array_equal(again.x, clip.x)
            if getattr(things[change.item], change.what) == change.value:
                assert np.array_equal(clip.x, drawn.target.x)


def test_same_seed_same_set():
    first, again, other = draw_set(3), draw_set(3), draw_set(4)
    assert np.array_equal(first.target.x, again.target.x)
    assert first.scene.things == again.scene.things != other.scene.things


def test_a_world_in_which_nothing_meets_is_refused():
    with pytest.raises(ConfigError, match="no set in 200 tries"):
        draw_set(
            0, world=PhysWorld(n_objects=3, dt=0.04, substeps=1, speed=0.0, charge_values=(0,), strength=0)
        )
    with pytest.raises(ConfigError, match="split='dev'"):
        ComPhySet(split="dev")
    with pytest.raises(ConfigError, match="n_sets=0"):
        ComPhySet(0)


def test_boxes_are_in_the_picture_or_absent(sets):
    drawn = sets[0]
    found = boxes(drawn.target)
    centres = (found[..., :2] + found[..., 2:]) / 2
    visible = drawn.scene.visible
    assert np.allclose(centres[visible], drawn.scene.centres[visible], atol=1e-3)
    assert np.allclose((found[..., 2] - found[..., 0])[visible], 2 * WORLD.radius * 160 / VIEW)
    assert (found[~visible] == (0, 0, 480, 320)).all()


def test_annotations_hold_what_happened(sets):
    drawn = sets[1]
    told = annotation(drawn.target)
    frames = [(tuple(c["object_idxs"]), int(c["time"] * 25)) for c in told["collisions"]]
    assert frames == [(e.objects, e.frame) for e in drawn.scene.collisions]
    assert len(told["motion"]) == 150
    assert np.allclose([o["location"][:2] for o in told["motion"][70]], drawn.target.x[0, 70], atol=1e-5)
    assert [t["charge"] for t in told["config"]] == [t.charge for t in drawn.scene.things]
    assert annotation(drawn.references[0].clip, hidden=True)["config"][0].keys() == {
        "color",
        "material",
        "shape",
    }


def test_time_of_every_frame_is_read_back():
    assert [int(round(f / 25 + 0.001, 3) * 25) for f in range(1000)] == list(range(1000))


def test_files_of_two_splits_share_a_folder(tmp_path):
    drawn = []
    ComPhySet(3, seed=1).write(tmp_path / "made", draw=lambda clip, folder: drawn.append((clip, folder)))
    ComPhySet(2, n_ref=2, seed=1, split="val").write(tmp_path / "made")
    root = tmp_path / "made"
    assert len(drawn) == 3 * 5
    assert drawn[1][1] == root / "reference" / "sim_00000" / "0"
    names = ["sim_00000", "sim_00001", "sim_00002", "sim_04000", "sim_04001"]
    assert sorted(p.name for p in (root / "causal_sim").iterdir()) == names
    assert len(list((root / "reference" / "sim_04001").iterdir())) == 2
    told = json.loads((root / "causal_sim/sim_00002/annotations/annotation.json").read_text())
    assert told.keys() == {"config", "collisions", "motion", "field_config", "counterfactuals", "seed"}
    again = draw_set(told["seed"])
    assert [t._asdict() for t in again.scene.things] == told["config"]
    assert len(told["counterfactuals"]) == len(again.counterfactuals)
    questions = json.loads((root / "val.json").read_text())
    assert [(q["scene_index"], q["video_filename"]) for q in questions] == [
        (4000, "sim_04000.mp4"), (4001, "sim_04001.mp4"),
    ]  # fmt: skip
    assert np.load(root / "tracks" / "sim_04000.npy").shape[0] == 150
    assert not list(root.rglob("*.part"))


def test_same_seed_same_files(tmp_path):
    for name in ("a", "b"):
        ComPhySet(2, seed=4).write(tmp_path / name)
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file())
    assert len(files) == 2 * (1 + 4 + 1) + 1
    assert all((tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files)


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MienError, match="cannot write"):
        ComPhySet(1).write(tmp_path / "file")


def test_the_scene_follows_the_view(sets):
    drawn = sets[0]
    near, far = (scene_of(drawn.target, {}, v) for v in (0.5, 50.0))
    assert far.visible.all()
    assert near.visible.sum() < far.visible.sum()
    assert not far.in_out
