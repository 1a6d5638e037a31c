"""The shipped weights through the verbs that use them."""

from __future__ import annotations

import json

import numpy as np
from PIL import Image

import mien
from mien.cli.main import main
from mien.core.images import read_image
from mien.data.domains import emoji_dg


def test_inspect_names_sharpness_of_every_source_and_draws_it(tmp_path, capsys):
    picture = tmp_path / "surface.png"
    words = ["--images", "60", "--directions", "1", "--plot", str(picture), "--json"]
    assert main(["inspect", "sagm", *words]) == 0
    found = json.loads(capsys.readouterr().out)["result"]
    assert found["gap"] > 0
    assert [row["domain"] for row in found["by domain"]] == ["fluent", "twemoji"]
    assert found["held_out"] == "noto"
    assert read_image(picture).shape[1] > 400


def test_predict_and_demo_on_a_users_picture(tmp_path, capsys):
    noto = emoji_dg().sets[1]
    files = []
    for i in (0, len(noto) // 2):
        files.append(tmp_path / f"{i}.png")
        Image.fromarray(noto.pictures([i])[0]).resize((96, 64)).save(files[-1])
    results = mien.load("sagm").predict(*files)
    assert all(0 < r.probability <= 1 and r.trained_on == ("fluent", "twemoji") for r in results)
    assert main(["demo", "sagm", "--input", str(files[0]), "--output", str(tmp_path / "out")]) == 0
    assert main(["predict", "sagm", str(files[0]), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert answer["method"] == "sagm"
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert summary["methods"]["sagm"]["headline"]["label"] == results[0].label


def test_shipped_models_see_an_unseen_style_better_than_chance():
    noto = emoji_dg().sets[1]
    where = np.arange(0, len(noto), 7)
    results = mien.load("sagm/small").predict(*noto.pictures(where))
    right = np.mean([r.label == noto.classes[t] for r, t in zip(results, noto.targets[where], strict=True)])
    assert right > 0.35  # the largest class is 19 % of the pictures
