from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

import mien
from mien.cli.main import main
from mien.core.errors import ConfigError, DataError, WeightsError
from mien.core.shipped import shipped
from mien.engine import zoo
from mien.engine.folder import open_folder
from mien.methods.ncl.config import PredictOptions


def test_shipped_weights_have_cards_that_match():
    known = shipped()
    assert {"ncl/small", "ncl/ce-small"} <= set(known)
    total = 0
    for name, folder in known.items():
        size = (folder / "weights.safetensors").stat().st_size
        total += size
        assert size <= 6 * 2**20
        card = (folder / "card.md").read_text()
        sha = (folder / "weights.sha256").read_text().split()[0]
        assert name in card
        assert sha in card
        assert "mien train" in card
        assert zoo.resolve(name) == folder
    assert total <= 25 * 2**20


def test_cards_of_models_that_judge_people_tell_errors_by_group():
    judges = [n for n in shipped() if n.split("/")[0] in ("gkd", "cakd", "fm_vit", "cqil")]
    assert len(judges) == 8
    for name in judges:
        card = (shipped()[name] / "card.md").read_text()
        assert "Errors by group" in card
        for group in ("sex: women", "skin: dark", "age: older"):
            assert f"| {group} |" in card


def test_a_shipped_file_that_changed_is_refused(tmp_path, monkeypatch):
    copy = tmp_path / "small"
    shutil.copytree(shipped()["ncl/small"], copy)
    with (copy / "weights.safetensors").open("r+b") as stream:
        stream.seek(-1, 2)
        stream.write(b"\x7f")
    monkeypatch.setattr(zoo, "shipped", lambda: {"ncl/small": copy})
    with pytest.raises(WeightsError, match="do not match"):
        zoo.resolve("ncl")


def test_names_folders_and_hub_ids(tmp_path):
    assert mien.load("ncl").classes[0] == "T-shirt/top"
    copy = tmp_path / "mine"
    shutil.copytree(shipped()["ncl/small"], copy)
    assert mien.load(str(copy)).folder.path == copy
    for name, text in [
        ("ncl/smal", "did you mean 'ncl/small'"),
        ("a b", "no weights"),
        ("x/y", "nor on the hub"),
    ]:
        with pytest.raises(WeightsError, match=text):
            zoo.resolve(name)
    with pytest.raises(WeightsError, match="weights of ncl, not of sagm"):
        zoo.load_folder_of("sagm", "ncl")


@pytest.mark.parametrize(
    ("break_it", "text"),
    [
        (lambda p: (p / "weights.safetensors").unlink(), "no weights yet"),
        (lambda p: (p / "config.toml").unlink(), "no config.toml"),
        (lambda p: (p / "config.toml").write_text("[x"), "not valid TOML"),
        (lambda p: (p / "config.toml").write_text("a = 1"), "mien_method"),
        (lambda p: (p / "facts.json").write_text("{"), "not valid JSON"),
        (lambda p: (p / "weights.safetensors").write_bytes(b"PK\x03\x04" + b"0" * 20), "pickle"),
        (lambda p: (p / "weights.safetensors").write_bytes(b"\0" * 20), "damaged|gaps|describes"),
    ],
)
def test_broken_folders_are_one_clear_line(tmp_path, capsys, break_it, text):
    copy = tmp_path / "mine"
    shutil.copytree(shipped()["ncl/small"], copy)
    break_it(copy)
    assert main(["eval", "ncl", "--weights", str(copy)]) == 1
    error = capsys.readouterr().err
    import re

    assert re.search(text, error)
    assert error.count("\n") == 1


def test_an_unknown_key_in_a_config_is_named(tmp_path):
    copy = tmp_path / "mine"
    shutil.copytree(shipped()["ncl/small"], copy)
    text = (copy / "config.toml").read_text()
    (copy / "config.toml").write_text(text.replace("momentum", "x").replace("[optim]", "[optim]\nlrr = 3"))
    with pytest.raises(ConfigError, match=r"unknown key 'optim\.lrr'; did you mean 'lr'"):
        open_folder(copy)


def test_a_single_file_is_no_model_folder(tmp_path):
    source = shipped()["ncl/small"] / "weights.safetensors"
    shutil.copyfile(source, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match="give the folder"):
        open_folder(tmp_path / "w.safetensors")
    torch.save({}, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="mien convert torch"):
        open_folder(tmp_path / "w.pt")


@pytest.fixture(scope="module")
def predictor():
    return mien.load("ncl/small")


@pytest.fixture(scope="module")
def garment():
    from mien.data.bundled import fashion_lt_splits

    splits = fashion_lt_splits(None)
    index = int(np.flatnonzero(splits.test.targets == 1)[0])  # trousers: easy
    return splits.test.images[index, :, :, 0]


def test_every_kind_of_input_gives_one_answer(predictor, garment, tmp_path):
    path = tmp_path / "x.png"
    Image.fromarray(garment).save(path)
    inputs = [
        path,
        str(path),
        path.read_bytes(),
        Image.fromarray(garment),
        garment,
        torch.from_numpy(garment / 255.0)[None].float(),
    ]
    results = predictor.predict(*inputs)
    assert {r.label for r in results} == {"Trouser"}
    assert len({round(r.probability, 5) for r in results}) == 1
    assert predictor.predict() == []


def test_a_photograph_on_white_with_margins_is_brought_into_convention(predictor, garment):
    large = np.kron(255 - garment, np.ones((9, 9), np.uint8))
    photo = np.full((400, 600), 255, np.uint8)
    photo[70 : 70 + large.shape[0], 120 : 120 + large.shape[1]] = large
    result = predictor.predict(photo)[0]
    assert result.inverted
    assert result.label == "Trouser"
    assert predictor.seen(photo).shape == (28, 28)
    assert not predictor.predict(photo, options=PredictOptions(invert="never"))[0].inverted


def test_result_carries_its_rule_and_the_experts_view(predictor, garment):
    both = predictor.predict(garment)[0]
    one = predictor.predict(garment, options=PredictOptions(mode="1"))[0]
    assert "temperature" in both.rule
    assert len(both.expert_labels) == 2
    assert both.disagreement >= 0
    assert one.mode == "1"
    assert (
        abs(sum(p for _, p in predictor.predict(garment, options=PredictOptions(top=10))[0].top) - 1) < 1e-5
    )
    with pytest.raises(DataError):
        predictor.predict("/nowhere.png")
    with pytest.raises(ConfigError):
        predictor.predict(garment, options=PredictOptions(test_prior=(1.0, float("nan"))))


def test_a_method_s_name_is_its_demo_weights_or_else_its_small_ones() -> None:
    assert zoo.resolve("otavatar") == zoo.resolve("otavatar/demo")
    assert zoo.resolve("ncl") == zoo.resolve("ncl/small")
