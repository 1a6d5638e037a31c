"""The demo on a model of three steps: what it draws, judges, shows and writes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mien.core.catalogue import method
from mien.core.images import encode_png, read_image
from mien.data.rendered_pad import PadPlan
from mien.engine.folder import open_folder
from mien.engine.stages import train_recipe
from mien.methods.fm_vit import demo
from mien.methods.fm_vit.config import RECIPES
from mien.methods.fm_vit.evaluate import restore
from mien.methods.fm_vit.predict import PadResult
from mien.methods.fm_vit.task import configs
from mien.synth.attacks import SPECIES

NAMES = ("rgb", "depth", "ir")
PNG = b"\x89PNG"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    train_recipe(method("fm_vit"), RECIPES["debug"](), folder)
    return open_folder(folder)


@pytest.fixture(scope="module")
def drawn(model):
    return demo.draw(configs(model.recipe)[1])


def test_every_species_of_people_and_devices_that_no_set_has(drawn):
    species = drawn.labels.species.tolist()
    assert species == ["live"] * demo.LIVE + [s for s in SPECIES for _ in range(demo.EACH)]
    assert {m: x.shape for m, x in drawn.images.items()} == {
        "rgb": (24, 32, 32, 3), "depth": (24, 32, 32, 1), "ir": (24, 32, 32, 1),
    }  # fmt: skip
    assert len(set(drawn.labels.subjects)) == 24
    last = list(PadPlan().sets().values())
    assert demo.PERSON > max(s.first + s.identities for s in last)
    assert demo.DEVICE > max(s.first_device + s.devices for s in last)
    assert {d[:2] for d in drawn.labels.devices} == {"d9"}


def test_it_draws_the_same_again(drawn, model, monkeypatch):
    monkeypatch.setattr(demo, "LIVE", 1)
    monkeypatch.setattr(demo, "SPECIES", ())
    again = demo.draw(configs(model.recipe)[1])
    for m in NAMES:
        np.testing.assert_array_equal(again.images[m][0], drawn.images[m][0])


def test_verdicts_and_rates_by_hand():
    live = np.array([True, True, False, False, False, False])
    judged = demo.Judged(np.array([0.9, 0.4, 0.5, 0.1, 0.2, 0.3]), 0.5, live)
    assert judged.right.tolist() == [True, False, False, True, True, True]
    assert judged.acer == pytest.approx((1 / 2 + 1 / 4) / 2)
    (row,) = demo.rates({"rgb+ir": judged})
    assert list(row.values()) == ["rgb + ir", "50 %", "25 %", "38 %", "0.50"]


def test_each_subset_is_judged_at_its_own_threshold(model, drawn):
    known = model.facts["thresholds"]
    found = demo.judge(restore(model), drawn, 32, known)
    assert list(found) == list(known)
    assert {n: j.threshold for n, j in found.items()} == {n: f["value"] for n, f in known.items()}
    assert all(((j.p > 0) & (j.p < 1)).all() for j in found.values())


def test_looks_show_what_is_seen_above_where_it_looked(model, drawn):
    picture, _ = demo.looks(restore(model), drawn.subset(np.array([0, 3])), NAMES, 32)
    side = 32 * demo.SCALE
    assert picture.shape == (2 * (side + 2), 3 * (side + 2), 3)
    np.testing.assert_array_equal(picture[:side:2, :side:2], drawn.images["rgb"][0])
    np.testing.assert_array_equal(
        picture[:side:2, side + 2 : 2 * side + 2 : 2, 0], drawn.images["depth"][0, ..., 0]
    )
    below = picture[side + 2 : 2 * side + 2, :side]
    assert (below != picture[:side, :side]).any()


def test_nets_without_relevance_show_the_pictures_only(drawn):
    class Bare(torch.nn.Module):
        def forward(self, images):
            return {"relevance": {}}

    (picture,) = demo.looks(Bare(), drawn.subset(np.array([1])), ("ir",), 32)
    assert picture.shape == (66, 66, 3)


def test_the_whole_demo(model, drawn, monkeypatch, tmp_path):
    monkeypatch.setattr(demo, "OURS", str(model.path))
    monkeypatch.setattr(demo, "draw", lambda data: drawn)
    result = demo.demo(tmp_path, [])
    assert list(result.headline) == [
        "presentations",
        "acer_rgb",
        "acer_depth",
        "acer_ir",
        "acer_rgb+depth+ir",
    ]
    assert result.headline["presentations"] == 24
    assert all(0 <= v <= 1 for k, v in result.headline.items() if k.startswith("acer"))
    assert result.inputs == (model.weights,)
    assert [f.relative_to(tmp_path).as_posix() for f in result.files] == [
        "fm_vit/scores.png", "fm_vit/presentations.png",
    ]  # fmt: skip
    assert all(f.read_bytes().startswith(PNG) for f in result.files)
    assert result.html.count("<div class=card>") == demo.SHOWN + len(SPECIES)
    assert result.html.count("alone: ") == 3 * (demo.SHOWN + len(SPECIES))
    assert all(f"<b>{s.replace('_', ', ')}</b>" in result.html for s in SPECIES)
    assert "<td>rgb + depth + ir</td>" in result.html


def test_files_of_one_presentation_belong_together():
    a, depth, ir, b = (Path("x") / f for f in ("a.png", "a_depth.png", "a_ir.npy", "b_ir.png"))
    assert demo.moments([depth, a, b, ir]) == [{"depth": depth, "rgb": a, "ir": ir}, {"ir": b}]
    named, other = Path("door_rgb.png"), Path("y/door_depth.png")
    assert demo.moments([named, other]) == [{"rgb": named}, {"depth": other}]
    twice = [Path("c.png"), Path("c.jpg"), Path("_ir.png"), Path("me_and_you.png")]
    assert demo.moments(twice) == [{"rgb": p} for p in twice]


def test_the_users_pictures_are_judged_by_the_predictor(monkeypatch, tmp_path):
    given, file = [], tmp_path / "map.png"
    file.write_bytes(encode_png(np.zeros((4, 4, 3), np.uint8)))

    class Fake:
        @classmethod
        def from_pretrained(cls, name):
            assert name == demo.OURS
            return cls()

        def predict(self, *inputs, options):
            given.extend(inputs)
            assert options.maps == str(tmp_path / "out" / "fm_vit")
            ok = PadResult("ok", True, 0.8, 0.6, branches=(("rgb", 0.7), ("ir", 0.9)), maps=(str(file),),
                           note="<blurred>")  # fmt: skip
            return [ok, PadResult("no_face")]

    monkeypatch.setattr(demo, "Predictor", Fake)
    inputs = [tmp_path / n for n in ("a_rgb.png", "a_ir.png", "b<.png")]
    result = demo.demo(tmp_path / "out", inputs)
    assert given == [{"rgb": inputs[0], "ir": inputs[1]}, {"rgb": inputs[2]}]
    assert result.headline == {"presentations": 2, "status": "no_face", "live": None, "probability": None}
    assert result.inputs == tuple(inputs)
    assert "<b class=good>live, P(live) 80 %</b> (accepted from 60 %)" in result.html
    assert "ir branch: 90 %" in result.html
    assert "&lt;blurred&gt;" in result.html
    assert "b&lt;.png" in result.html
    assert "not judged: no_face" in result.html
    rows = json.loads((tmp_path / "out/fm_vit/input.json").read_text())
    assert rows[0]["input"] == {"rgb": str(inputs[0]), "ir": str(inputs[1])}
    assert rows[1]["status"] == "no_face"
    assert read_image(result.files[0]).shape == (4, 4, 3)
