"""What README files show works: Python blocks run, command lines parse, links lead somewhere."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.cli.main import VERBS, main

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "src/mien/methods").glob("*/README.md"))]
_FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page, *languages):
    return [body for language, body in _FENCE.findall(page.read_text()) if language in languages]


@pytest.fixture(scope="session")
def avatar(tmp_path_factory):
    """A folder with a portrait, an avatar made of it, and a driver's motion."""
    import mien
    from mien.methods.otavatar import MotionTrack

    folder = tmp_path_factory.mktemp("avatar")
    portrait = np.full((256, 320, 3), 255, np.uint8)
    portrait[60:230, 160:290] = (180, 120, 90)
    Image.fromarray(portrait).save(folder / "me.jpg")
    mien.load("otavatar/demo").invert(portrait, steps=0).save(folder / "avatar.safetensors")
    MotionTrack.from_talk(0, 5).to_npz(folder / "track.npz")
    return folder


@pytest.fixture(scope="session")
def standing(tmp_path_factory):
    """A photograph of somebody who stands before a plain wall, and beside it the keypoints."""
    import torch

    from mien.methods.car import estimate
    from mien.methods.car.keypoints import projected

    whole = torch.zeros(160, 160, dtype=torch.bool)
    whole[15:145, 55:105] = True
    pose = estimate.placed(estimate.standing(55.0, 8.0), whole)
    seen = estimate.silhouette(pose, 160).numpy()
    path = tmp_path_factory.mktemp("standing") / "person.png"
    Image.fromarray(np.where(seen[..., None], (60, 70, 120), (230, 230, 225)).astype(np.uint8)).save(path)
    names, marks = estimate.human_marks()
    box = projected(marks, *(value[None] for value in pose))[0].numpy()
    rows = np.pad(80 * (box + 1), [(0, 0), (0, 1)], constant_values=0.9)
    np.savez(path.with_suffix(".npz"), keypoints=rows[None], names=np.array(names), size=np.array([160, 160]))
    return path


@pytest.fixture
def workplace(tmp_path, monkeypatch, avatar, standing):
    for path in (standing, standing.with_suffix(".npz")):
        shutil.copy(path, tmp_path / path.name)
    for name in ("me.jpg", "track.npz"):
        shutil.copy(avatar / name, tmp_path / name)
    (tmp_path / "out/otavatar").mkdir(parents=True)
    shutil.copy(avatar / "avatar.safetensors", tmp_path / "out/otavatar")
    Image.fromarray(np.full((90, 60, 3), 240, np.uint8)).save(tmp_path / "shoe.jpg")
    rng = np.random.default_rng(0)
    (tmp_path / "PEOPLE" / "ada").mkdir(parents=True)
    for name in ("a", "b", "who", "PEOPLE/ada/1"):
        Image.fromarray(rng.integers(0, 256, (64, 64, 3)).astype(np.uint8)).save(tmp_path / f"{name}.jpg")
    face = rng.integers(0, 256, (64, 64, 3)).astype(np.uint8)
    Image.fromarray(face).save(tmp_path / "a.png")
    Image.fromarray(rng.integers(500, 700, (64, 64)).astype(np.uint16)).save(tmp_path / "d.png")
    Image.fromarray(rng.integers(0, 256, (64, 64)).astype(np.uint8)).save(tmp_path / "i.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.parent.name)
def test_python_blocks_run(page, workplace):
    for body in blocks(page, "python"):
        exec(compile(body, str(page), "exec"), {})
    assert (workplace / "shoe.jpg").exists()


def commands():
    for page in PAGES:
        for body in blocks(page, "console", "bash"):
            for line in body.splitlines():
                words = shlex.split(line, comments=True)
                if words[:1] == ["mien"]:
                    yield pytest.param(words[1:], id=" ".join(words[1:]))


@pytest.mark.parametrize("words", list(commands()))
def test_command_lines_are_understood(words, workplace, capsys):
    verb, *rest = words
    assert verb in VERBS
    if verb == "predict" and "mediapipe" in words:
        assert main(words) in (0, 1, 2)  # a package of its own environment
        assert "unexpected" not in capsys.readouterr().err
    elif verb == "predict":
        assert main(words) == 0
    elif verb == "train" and "--resume" not in rest:
        from mien.cli.train import parse_recipe

        recipe, _ = parse_recipe(rest[0], rest[1:])
        assert recipe.name
    else:
        assert main([verb, *[w for w in rest[:1] if not w.startswith("-")], "--help"]) in (0, 2)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.parent.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_numbers_come_from_results(capsys):
    assert main(["results", "--check"]) in (0, 1)
    assert "not regenerated" not in capsys.readouterr().err
