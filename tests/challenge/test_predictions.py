"""A trained model as a submission: order, form, and what is refused."""

from __future__ import annotations

import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from mien.challenge import Reference, init, predict, predictions, score
from mien.challenge.items import items_of
from mien.challenge.predictions import judge_of, listed, live_scores, write_submission
from mien.core.catalogue import method
from mien.core.errors import ConfigError, DataError
from mien.data.surveil_config import SurveilData
from mien.data.surveil_sets import debug_surveil
from mien.engine.stages import train_recipe
from mien.methods.cqil.config import RECIPES
from tests.challenge.made import CONTEST, START, make_challenge


class ByName:
    """Judges a picture by the number in its name; never one whose number ends in 0."""

    def __init__(self):
        self.batches = []

    def predict(self, *inputs, options=None):
        self.batches.append(len(inputs))
        numbers = [int(Path(p).stem) for p in inputs]
        return [SimpleNamespace(probability=None if n % 10 == 0 else n / 100) for n in numbers]


def read(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name).decode().splitlines() for name in archive.namelist()}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(predictions, "judge_of", lambda weights: ByName())
    return make_challenge(tmp_path)


@pytest.mark.parametrize("phase", [1, 2])
def test_lines_in_the_lists_order(folder, tmp_path, phase):
    seen = []
    done = predict(folder, "w", tmp_path / "a.zip", phase=phase, watch=lambda *n: seen.append(n))
    hidden = Reference.read(folder)
    names = [*hidden.dev.names, *hidden.test.names][: done.lines]
    assert (done.lines, done.refused, done.phase) == ((12, 1, 1), (30, 2, 2))[phase - 1]
    lines = read(tmp_path / "a.zip")["results.txt"]
    assert [line.split()[0] for line in lines] == names
    assert lines[0] == "dev/000001.jpg 0.01"
    assert lines[9] == "dev/000010.jpg 0"
    assert seen == [(done.lines, done.lines)]
    assert score(folder / "reference", tmp_path / "a.zip", phase, draws=0).errors.acer is not None


def test_two_files_and_the_same_bytes(folder, tmp_path):
    for name in "ab":
        predict(folder, "w", tmp_path / f"{name}.zip", files="two")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    texts = read(tmp_path / "a.zip")
    assert {k: len(v) for k, v in texts.items()} == {"phase1.txt": 12, "phase2.txt": 18}
    assert score(folder / "reference", tmp_path / "a.zip", files="two", draws=0).errors.acer is not None


def test_batches():
    judge = ByName()
    scores, refused = live_scores(judge, [Path(f"{k}.jpg") for k in range(1, 8)], batch=3)
    assert judge.batches == [3, 3, 1]
    assert scores == pytest.approx(np.arange(1, 8) / 100)
    assert refused == 0


def test_a_model_of_pictures_from_folder_to_score(tmp_path):
    """Trained on noise, but its scores must be the predictor's own, and valid."""
    train_recipe(method("cqil"), RECIPES["debug"](), tmp_path / "run")
    lines = ["split,path,label,track"]
    (tmp_path / "p").mkdir()
    for split in ("train", "dev", "test"):
        images = debug_surveil(SurveilData(kind="debug", size=32), split, 8)
        for k, picture in enumerate(images.pictures):
            Image.fromarray(picture).save(tmp_path / "p" / f"{split}{k}.png")
            lines.append(f"{split},p/{split}{k}.png,{images.label[k]},{split}{images.track[k]}")
    (tmp_path / "set.csv").write_text("\n".join(lines))
    made = init(tmp_path / "set.csv", "own", tmp_path / "c", contest=CONTEST, clock=lambda: START)
    done = predict(made.folder, tmp_path / "run", tmp_path / "a.zip")
    assert (done.lines, done.refused) == (16, 0)
    judge = judge_of(tmp_path / "run")
    name, value = read(tmp_path / "a.zip")["results.txt"][-1].split()
    alone = judge.predict(made.folder / "phase2" / name)[0].probability
    assert float(value) == pytest.approx(alone, abs=1e-6)
    assert 0 <= score(made.folder / "reference", tmp_path / "a.zip", draws=0).errors.acer <= 1


def test_what_is_refused(folder, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="no phase 3"):
        predict(folder, "w", tmp_path / "a.zip", phase=3)
    with pytest.raises(ConfigError, match="one or two files"):
        predict(folder, "w", tmp_path / "a.zip", files="three")
    with pytest.raises(DataError, match=r"phase1/dev.txt: no such list"):
        listed(tmp_path, 1)
    (folder / "phase2" / "test.txt").write_text("\n\n")
    with pytest.raises(DataError, match=r"test.txt: no pictures"):
        listed(folder, 2)
    with pytest.raises(ConfigError, match=r"weights of ncl \(long-tailed recognition\)"):
        judge_of("ncl/small")
    assert not (tmp_path / "a.zip").exists()


def test_as_many_scores_as_names(tmp_path):
    with pytest.raises(ValueError, match="zip"):
        write_submission(tmp_path / "a.zip", {1: ("a", "b")}, np.zeros(3))
    assert not list(tmp_path.iterdir())


def test_the_word_rendered_is_the_made_twin(monkeypatch, tmp_path):
    monkeypatch.setattr("mien.data.surveil_pictures.rendered_suhifimask", lambda workers: tmp_path)
    monkeypatch.setattr("mien.challenge.items.suhifimask_items", lambda root, protocol: (root, protocol))
    assert items_of("rendered", "p1") == (tmp_path, "p1")
    assert items_of("./rendered", "p1") == ("./rendered", "p1")
