"""Pictures, folders and videos in, verdicts out."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from mien.core.errors import ConfigError, DataError
from mien.data.surveil_images import SurveilImages
from mien.data.surveil_sets import read_surveil
from mien.data.video import write_video
from mien.methods.cqil.config import PredictOptions
from mien.methods.cqil.predict import Predictor, read_track
from mien.methods.cqil.score import scored, track_scores
from mien.metrics import probability

Picture = NDArray[np.uint8]


@pytest.fixture(scope="module")
def images(predictor: Predictor) -> SurveilImages:
    return read_surveil(predictor.data).test


@pytest.fixture
def track(tmp_path: Path, images: SurveilImages) -> Path:
    folder = tmp_path / "id_3"
    folder.mkdir()
    for k in range(5):
        Image.fromarray(images.pictures[k]).save(folder / f"{k:03d}.png")
    return folder


def test_a_picture_is_judged_as_in_the_protocol(predictor: Predictor, images: SurveilImages) -> None:
    found = predictor.predict(images.pictures[0], images.pictures[3])
    said = scored(predictor.net, images.pictures[[0, 3]], predictor.device)
    known = predictor.folder.facts["thresholds"]["image"]
    p = probability(said.odds, known["calibration"])
    assert [r.probability for r in found] == pytest.approx(p.tolist(), abs=1e-6)
    assert [r.quality for r in found] == pytest.approx(said.quality.tolist(), abs=1e-6)
    for r, value in zip(found, p, strict=True):
        assert r.live == (value >= known["value"])
        assert r.threshold == known["value"]
        assert r.rule == known["rule"]
        assert r.level == "image"
        assert len(r.frames) == 1


def test_a_folder_is_a_track_weighted_by_quality(
    predictor: Predictor, images: SurveilImages, track: Path
) -> None:
    (found,) = predictor.predict(track)
    said = scored(predictor.net, images.pictures[:5], predictor.device)
    score = track_scores(said.odds, said.quality, np.zeros(5, np.int64))
    known = predictor.folder.facts["thresholds"]["track"]
    assert found.probability == pytest.approx(float(probability(score, known["calibration"])[0]), abs=1e-6)
    assert found.rule == known["rule"]
    assert [f.frame for f in found.frames] == [0, 1, 2, 3, 4]
    fewer = predictor.predict(track, options=PredictOptions(frames=2))[0]
    assert len(fewer.frames) == 2


def test_a_video_is_a_track(predictor: Predictor, images: SurveilImages, tmp_path: Path) -> None:
    pytest.importorskip("av")
    video = write_video(tmp_path / "walk.mp4", [p.repeat(2, 0).repeat(2, 1) for p in images.pictures[:6]], 5)
    (found,) = predictor.predict(video.path, options=PredictOptions(frames=3))
    assert found.status == "ok"
    assert found.level == "track"
    assert len(found.frames) == 3
    assert len(read_track(video.path, 4)[0]) == 4


def test_boxes_and_thresholds_of_the_user(predictor: Predictor, images: SurveilImages) -> None:
    wide = np.zeros((64, 100, 3), np.uint8)
    wide[10:42, 40:72] = images.pictures[0]
    whole, cut = predictor.predict(wide, wide, boxes=[None, (46, 16, 66, 36)])
    assert whole.probability != cut.probability
    (sure,) = predictor.predict(images.pictures[0], options=PredictOptions(threshold=0.0))
    assert sure.live is True
    assert sure.rule == "given"


def test_what_cannot_be_judged_says_why(predictor: Predictor, images: SurveilImages) -> None:
    flat, small = np.full((40, 40, 3), 90, np.uint8), images.pictures[0][:6, :6]
    poor = PredictOptions(least_quality=1.0)
    assert [r.status for r in predictor.predict(flat, small)] == ["no_face", "too_small"]
    (found,) = predictor.predict(images.pictures[0], options=poor)
    assert found.status in ("too_poor", "ok")
    for r in predictor.predict(flat, small):
        assert r.live is None
        assert r.probability is None


def test_bad_frames_of_a_track_are_told(predictor: Predictor, track: Path) -> None:
    Image.fromarray(np.full((32, 32, 3), 7, np.uint8)).save(track / "001.png")
    (found,) = predictor.predict(track)
    assert [f.frame for f in found.frames] == [0, 2, 3, 4]
    assert found.note == "1 of 5 frames not judged: no_face"


def test_errors(predictor: Predictor, tmp_path: Path, images: SurveilImages) -> None:
    with pytest.raises(ConfigError, match="no picture"):
        predictor.predict()
    with pytest.raises(ConfigError, match="1 inputs but 2 boxes"):
        predictor.predict(images.pictures[0], boxes=[None, None])
    with pytest.raises(DataError, match="no pictures in this folder"):
        predictor.predict(tmp_path)
    with pytest.raises(DataError, match="lies outside of the picture"):
        predictor.predict(images.pictures[0], boxes=[(90, 90, 95, 95)])
    with pytest.raises(ConfigError, match=r"least_quality=2 is outside"):
        PredictOptions(least_quality=2)
