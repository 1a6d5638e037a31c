"""Pictures of SuHiFiMask in memory."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
from PIL import Image

from mien.core.errors import DataError
from mien.data import surveil_pictures
from mien.data.suhifimask import SuHiFiMask
from mien.data.surveil_pictures import (
    is_drawn,
    load_suhifimask,
    rendered_folder,
    rendered_suhifimask,
    unreadable,
)
from mien.metrics.quality import quality_score
from mien.synth.surveil_set import SurveilSet
from tests.data.suhifimask_fixtures import TRACKS, pictures, write_suhifimask


def test_arrays_of_a_split(tmp_path):
    write_suhifimask(tmp_path)
    images = load_suhifimask(tmp_path, "p3", "train", 24)
    samples = SuHiFiMask(tmp_path, "p3", "train")
    assert images.pictures.shape == (2 * len(TRACKS), 24, 24, 3)
    for name in ("label", "subject", "camera", "scene", "frame", "live"):
        assert getattr(images, name).tolist() == [getattr(s, name) for s in samples]
    assert images.paths.tolist() == [s.listed for s in samples]
    assert len(np.unique(images.track)) == len(TRACKS)
    file = samples[3].path
    wanted = Image.open(file).resize((24, 24), Image.Resampling.BILINEAR)
    assert (images.pictures[3] == np.asarray(wanted)).all()
    assert images.quality[3] == pytest.approx(quality_score(np.asarray(Image.open(file)))["q"])


def test_tracks_have_one_number_in_all_splits(tmp_path):
    write_suhifimask(tmp_path)
    train, test = (load_suhifimask(tmp_path, "p3", s, 16) for s in ("train", "test"))
    assert set(train.track) == set(test.track)
    folder = dict(zip(test.track.tolist(), [p.rsplit("/", 1)[0] for p in test.paths], strict=True))
    pairs = zip(train.track.tolist(), train.paths, strict=True)
    assert all(folder[t] == p.rsplit("/", 1)[0] for t, p in pairs)
    assert (train.track >= 0).all()


def test_the_truth_gives_the_quality(tmp_path):
    place = write_suhifimask(tmp_path)
    rows = [{"path": p, "quality": k / 100} for k, (p, *_) in enumerate(pictures())]
    (place / "truth.jsonl").write_text("".join(f"{json.dumps(r)}\n" for r in rows))
    images = load_suhifimask(tmp_path, "p3", "test", 16)
    known = {r["path"]: r["quality"] for r in rows}
    assert images.quality.tolist() == [known[p] for p in images.paths]
    (place / "truth.jsonl").write_text('{"path": "a"}\n')
    with pytest.raises(DataError, match=r"truth\.jsonl:1: no path and quality"):
        load_suhifimask(tmp_path, "p3", "test", 16)


def test_pictures_of_the_size_stay_as_they_are(tmp_path):
    place = write_suhifimask(tmp_path, protocols=("p3",))
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    sample = SuHiFiMask(place, "p3", "test")[0]
    Image.fromarray(pixels).save(sample.path, quality=95)
    assert (load_suhifimask(place, "p3", "test", 16).pictures[0] == np.asarray(Image.open(sample.path))).all()


def test_damaged_pictures_are_reported_and_never_dropped_silently(tmp_path, caplog):
    write_suhifimask(tmp_path, protocols=("p3",))
    samples = SuHiFiMask(tmp_path, "p3", "test")
    samples[0].path.write_bytes(samples[0].path.read_bytes()[:150])
    samples[2].path.unlink()
    assert [u.sample.path for u in unreadable(samples)] == [samples[0].path, samples[2].path]
    with pytest.raises(DataError, match=r"2 of 8 pictures of p3 test cannot be read, first: .*damaged"):
        load_suhifimask(tmp_path, "p3", "test")
    with caplog.at_level(logging.WARNING):
        caplog.clear()
        images = load_suhifimask(tmp_path, "p3", "test", skip_damaged=True)
    assert len(images) == 6
    assert len([r for r in caplog.records if "left out" in r.message]) == 2
    for s in samples:
        s.path.unlink(missing_ok=True)
    with pytest.raises(DataError, match=r"no picture of p3 test can be read"):
        load_suhifimask(tmp_path, "p3", "test", skip_damaged=True)


def test_the_made_twin_is_drawn_once(tmp_path, monkeypatch):
    calls = []

    def make(settings, folder, workers, done):
        calls.append(settings)
        folder.mkdir(parents=True)
        (folder / "card.md").write_text("done")

    monkeypatch.setenv("MIEN_HOME", str(tmp_path))
    monkeypatch.setattr(surveil_pictures, "make_suhifimask", make)
    settings = SurveilSet(tracks=10)
    assert not is_drawn(settings)
    assert rendered_suhifimask(settings) == rendered_suhifimask(settings) == rendered_folder(settings)
    assert calls == [settings]
    assert rendered_folder(SurveilSet(tracks=11)) != rendered_folder(settings)
    assert rendered_folder(settings).parent == tmp_path / "data"
