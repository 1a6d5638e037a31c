from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest

from mien.core.errors import ConfigError
from mien.data import check_domains
from mien.data.check import guess_kind
from mien.data.config import DomainData
from mien.data.domain_readers import read_domains
from tests.data import fixtures

WRITERS = {
    "pacs": fixtures.write_pacs,
    "vlcs": fixtures.write_vlcs,
    "office_home": fixtures.write_office_home,
    "terra_incognita": fixtures.write_terra_tree,
    "domain_net": fixtures.write_domain_net,
}


def config(kind, root=None):
    return DomainData(kind=kind, root=root and str(root), held_out=())


@pytest.mark.parametrize("kind", WRITERS)
def test_sound_sets_are_guessed_and_found_sound(tmp_path, kind):
    WRITERS[kind](tmp_path)
    assert guess_kind(tmp_path) == kind
    report = check_domains(config(kind, tmp_path))
    assert report.problems == ()
    assert (report.kind, report.root) == (kind, str(tmp_path))
    domains = read_domains(config(kind, tmp_path))
    assert tuple(report.splits) == domains.names
    for name, images in zip(domains.names, domains.sets, strict=True):
        counts = images.counts()
        assert report.splits[name] == {
            "images": counts.sum(),
            "classes": len(counts),
            "largest": counts.max(),
            "smallest": counts.min(),
            "empty_classes": 0,
        }
    assert any("looks like a partial copy" in note for note in report.notes)
    json.dumps(dataclasses.asdict(report))


@pytest.mark.parametrize("kind", ["emoji_dg", "digits_dg", "rotated_fashion", "debug"])
def test_sets_at_hand_are_sound(kind):
    report = check_domains(config(kind))
    assert report.problems == ()
    assert len(report.splits) >= 3


@pytest.mark.parametrize("kind", ["rotated_mnist", "colored_mnist"])
def test_made_of_the_users_mnist(tmp_path, kind):
    # So few pictures that a domain may lack a digit: no mistake of the user's.
    report = check_domains(config(kind, fixtures.write_idx(tmp_path)))
    assert report.problems == ()
    assert len(report.splits) == (6 if kind == "rotated_mnist" else 3)


def test_any_tree_is_checked_when_asked(tmp_path):
    fixtures.write_domains(tmp_path, {n: {"cat": 2, "dog": 3} for n in ("day", "night")})
    report = check_domains(config("domains", tmp_path))
    assert report.is_sound
    assert report.splits["night"]["images"] == 5
    assert report.notes == (f"2 domains below {tmp_path.name}",)


def test_every_damaged_picture_is_named(tmp_path):
    root = fixtures.write_pacs(tmp_path)
    bad = [root / "photo/dog/pic_000.png", root / "sketch/horse/pic_001.png"]
    bad[0].write_bytes(b"")
    bad[1].write_bytes(bad[1].read_bytes()[:60])
    problems = check_domains(config("pacs", root)).problems
    assert [line.split(": ")[0] for line in problems] == [str(b) for b in bad]
    assert "empty file" in problems[0]
    assert "damaged" in problems[1]
    assert check_domains(config("pacs", root), decode=False).is_sound


def test_the_same_pixels_in_two_domains(tmp_path):
    root = fixtures.write_pacs(tmp_path)
    for i in (0, 1):
        shutil.copy(root / f"photo/dog/pic_00{i}.png", root / f"sketch/dog/copy_{i}.png")
    shutil.copy(root / "cartoon/dog/pic_000.png", root / "cartoon/dog/again.png")  # in one domain: no leak
    (line,) = check_domains(config("pacs", root)).problems
    assert "sketch/dog/copy_0.png of sketch has the same pixels as" in line
    assert "photo/dog/pic_000.png of photo (2 pictures are in both domains)" in line


def test_folders_that_differ_or_are_empty(tmp_path):
    root = fixtures.write_vlcs(tmp_path)
    for file in (root / "SUN09/chair").iterdir():
        file.unlink()
    assert check_domains(config("vlcs", root)).problems == (
        "domain 'SUN09' has no picture of ['chair']; add some",
    )
    (root / "SUN09/chair").rmdir()
    (line,) = check_domains(config("vlcs", root)).problems
    assert "'SUN09' lacks ['chair']; every domain needs the same class folders" in line
    shutil.rmtree(root / "SUN09")
    report = check_domains(config("vlcs", root))
    assert report.splits == {}
    assert "lacks ['SUN09']; unpack all of it" in report.problems[0]


@pytest.mark.parametrize(
    ("layout", "words"),
    [
        ({"a": {"x": 1, "y": 1}, "b": {"x": 2}}, "'b' lacks ['y']"),
        ({"a": {"x": 1}, "b": {"x": 2}}, "'a' has one class only, 'x'"),
        ({"a": {"x": 1, "y": 1}}, "at least two domains"),
    ],
)
def test_what_is_no_set_of_domains_is_a_problem_not_an_exception(tmp_path, layout, words):
    fixtures.write_domains(tmp_path, layout)
    report = check_domains(config("domains", tmp_path))
    assert len(report.problems) == 1
    assert words in report.problems[0]
    assert not report.is_sound


def test_an_empty_domain_is_a_problem(tmp_path):
    fixtures.write_domains(tmp_path, {"a": {"x": 1, "y": 1}})
    (tmp_path / "b").mkdir()
    assert "domain 'b' is empty" in check_domains(config("domains", tmp_path)).problems[0]


def test_a_camera_that_lacks_an_animal_is_noted_only(tmp_path):
    fixtures.write_terra_listing(tmp_path, 1)
    path = tmp_path / "caltech_images_20210113.json"
    listed = json.loads(path.read_text())
    bird = next(c["id"] for c in listed["categories"] if c["name"] == "bird")
    lost = {i["id"] for i in listed["images"] if i["location"] == "46"}
    listed["annotations"] = [
        a for a in listed["annotations"] if a["category_id"] != bird or a["image_id"] not in lost
    ]
    path.write_text(json.dumps(listed))
    report = check_domains(config("terra_incognita", tmp_path))
    assert report.problems == ()
    assert "domain 'location_46' has no picture of ['bird']" in report.notes
    assert report.splits["location_46"]["empty_classes"] == 1


def test_a_listed_picture_that_is_missing_or_listed_twice(tmp_path):
    fixtures.write_terra_listing(tmp_path, 1)
    path = tmp_path / "caltech_images_20210113.json"
    listed = json.loads(path.read_text())
    first, second = listed["images"][:2]
    (tmp_path / "eccv_18_all_images_sm" / first["file_name"]).unlink()
    second["file_name"] = listed["images"][2]["file_name"]
    path.write_text(json.dumps(listed))
    problems = check_domains(config("terra_incognita", tmp_path), decode=False).problems
    assert len(problems) == 2
    assert "listed twice, in location_38 and in location_38" in problems[0]
    assert f"{first['file_name']}: no such file" in problems[1]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("pacs", "sketch: 21 images, the published set has 3,929: looks like a partial copy"),
        (
            "terra_incognita",
            "all domains: 80 images, the published set has 24,300 to 24,800: looks like a partial",
        ),
        ("domain_net", "all domains: 36 images, the published set has 586,575: looks like a partial copy"),
        ("domain_net", "3 classes, the published set has 345"),
        ("domain_net", "no list *duplicates*.txt beside the domains: duplicates are still in"),
    ],
)
def test_published_counts_are_noted(tmp_path, kind, words):
    WRITERS[kind](tmp_path)
    assert any(note.startswith(words) for note in check_domains(config(kind, tmp_path), decode=False).notes)


def test_more_than_published_is_noted_otherwise(monkeypatch, tmp_path):
    from mien.data import domain_check

    small = dataclasses.replace(domain_check.LAYOUTS["domain_net"], total=(5, 9), num_classes=3)
    monkeypatch.setitem(domain_check.LAYOUTS, "domain_net", small)
    notes = check_domains(config("domain_net", fixtures.write_domain_net(tmp_path)), decode=False).notes
    assert notes[-1] == "all domains: 36 images, the published set has 5 to 9: not the published set"


def test_notes_and_problems_are_single_lines(tmp_path):
    root = fixtures.write_domains(tmp_path / "a\nb", {n: {"cat": 1, "dog": 1} for n in ("x", "y")})
    (root / "x/cat/pic\n.png").write_bytes(b"no picture")
    report = check_domains(config("domains", root))
    assert len(report.problems) == 1
    assert not any("\n" in text for text in (report.root, *report.problems, *report.notes))


def test_a_setting_that_is_wrong_is_raised():
    with pytest.raises(ConfigError, match=r"--data\.root DIR"):
        check_domains(config("pacs"))


def test_public_names_are_functions_whatever_was_imported_before():
    import mien.data
    import mien.data.digits
    import mien.data.domain_check
    import mien.data.rotated

    for name in ("digits_dg", "check_domains", "rotated_fashion", "pacs", "read_domains"):
        assert callable(getattr(mien.data, name)), name
    assert np.isin(mien.data.__all__, dir(mien.data)).all()


def test_the_command_line_checks_domains(capsys, tmp_path):
    from mien.cli.data import DOMAIN_SETS, SETS
    from mien.cli.main import main
    from mien.data.domain_readers import READERS

    assert set(READERS) == set(DOMAIN_SETS) | {"debug"}
    assert set(DOMAIN_SETS) < set(SETS)
    fixtures.write_vlcs(tmp_path / "VLCS")
    assert main(["data", "check", str(tmp_path), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["kind"], next(iter(answer["splits"])), answer["problems"]) == ("vlcs", "Caltech101", [])
    assert main(["data", "check", str(tmp_path / "VLCS"), "--kind", "domains"]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("domain ")
    assert main(["data", "check", str(tmp_path), "--kind", "pacs"]) == 1
    assert "no PACS here" in capsys.readouterr().err
    assert main(["data", "check", str(tmp_path), "--kind", "emoji_dg"]) == 2
    assert "which needs no files" in capsys.readouterr().err
