from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from mien.core.errors import ConfigError, DataError
from mien.data.config import DomainData
from mien.data.domain_readers import READERS, read_domains
from mien.data.domain_sets import LAYOUTS, TERRA_CATEGORIES, domain_net, pacs, terra_incognita
from mien.data.domains import leave_one_domain_out
from tests.data import fixtures

WRITERS = {
    "pacs": fixtures.write_pacs,
    "vlcs": fixtures.write_vlcs,
    "office_home": fixtures.write_office_home,
    "terra_incognita": fixtures.write_terra_tree,
    "domain_net": fixtures.write_domain_net,
}
DOMAINS = {
    "pacs": ("art_painting", "cartoon", "photo", "sketch"),
    "vlcs": ("Caltech101", "LabelMe", "SUN09", "VOC2007"),
    "office_home": ("Art", "Clipart", "Product", "Real World"),
    "terra_incognita": ("location_100", "location_38", "location_43", "location_46"),
    "domain_net": ("clipart", "infograph", "painting", "quickdraw", "real", "sketch"),
}


def config(kind, root):
    return DomainData(kind=kind, root=str(root), held_out=DOMAINS[kind][:1])


def test_every_kind_has_a_reader():
    from typing import get_args

    from mien.data.config import DomainKind

    assert set(READERS) == set(get_args(DomainKind))
    assert set(LAYOUTS) == set(WRITERS) == set(DOMAINS)
    assert sum(LAYOUTS["pacs"].counts.values()) == 9991
    assert sum(LAYOUTS["vlcs"].counts.values()) == 10_729
    assert sum(LAYOUTS["office_home"].counts.values()) == 15_588


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("as_parent", [False, True])
def test_each_set_in_its_own_folder_and_from_its_parent(tmp_path, kind, as_parent):
    folder = tmp_path / {"pacs": "PACS", "vlcs": "VLCS"}.get(kind, kind)
    WRITERS[kind](folder, 2 if kind != "office_home" else 1)
    domains = read_domains(config(kind, tmp_path if as_parent else folder))
    assert domains.names == DOMAINS[kind]
    assert domains.real
    classes = {"domain_net": 3}.get(kind, LAYOUTS[kind].num_classes)
    per_class = 1 if kind == "office_home" else 2
    for images in domains.sets:
        assert images.counts().tolist() == [per_class] * classes
        assert list(images.classes) == sorted(images.classes)
    assert domains.sets[-1].pictures([0])[0].dtype == np.uint8
    sources, target = leave_one_domain_out(domains, DOMAINS[kind][0], 0)
    assert len(target.inner) + len(target.outer) == per_class * classes
    assert len(sources) == len(DOMAINS[kind]) - 1


@pytest.mark.parametrize("inside", ["kfold", "PACS/kfold", "any name"])
def test_pacs_in_its_other_folders(tmp_path, inside):
    fixtures.write_pacs(tmp_path / inside, 1)
    assert pacs(tmp_path if "k" in inside else tmp_path / inside).names == DOMAINS["pacs"]
    if inside == "PACS/kfold":
        assert pacs(tmp_path / "PACS").names == DOMAINS["pacs"]


def test_the_published_domains_no_fewer_and_no_more(tmp_path):
    fixtures.write_pacs(tmp_path, 1)
    (tmp_path / "Images.txt").write_text("files beside the domains do not matter")
    (tmp_path / "extra").mkdir()
    words = r"not the domains of PACS: has also \['extra'\]; move it away, or read the tree as kind 'domains'"
    with pytest.raises(DataError, match=words):
        pacs(tmp_path)
    shutil.rmtree(tmp_path / "sketch")
    with pytest.raises(DataError, match=r"lacks \['sketch'\]; unpack all of it, and has also \['extra'\]"):
        pacs(tmp_path)
    (tmp_path / "extra").rmdir()
    with pytest.raises(DataError, match=r"PACS: lacks \['sketch'\]; unpack all of it$"):
        pacs(tmp_path)


@pytest.mark.parametrize("kind", WRITERS)
def test_nothing_there_says_what_was_looked_for(tmp_path, kind):
    words = f"no {LAYOUTS[kind].title} here; looked for folders {DOMAINS[kind][0]}, .*; give the folder"
    with pytest.raises(DataError, match=words) as caught:
        read_domains(config(kind, tmp_path))
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match=r"--data\.root DIR"):
        read_domains(DomainData(kind=kind, held_out=()))
    with pytest.raises(DataError, match="no such folder"):
        read_domains(config(kind, tmp_path / "none"))


def test_a_class_folder_lost_is_named(tmp_path):
    fixtures.write_vlcs(tmp_path)
    shutil.rmtree(tmp_path / "SUN09/chair")
    with pytest.raises(DataError, match=r"'SUN09' lacks \['chair'\]"):
        read_domains(config("vlcs", tmp_path))


def test_domain_net_duplicates_are_left_out(tmp_path):
    lines = [
        "real/class_000/pic_000.png",
        "",
        "./sketch/class_002/pic_001.png\r",
        "real/class_000/pic_000.png",
    ]
    lines += ["real/class_000/not there.png", "../../etc/passwd", "/etc/passwd"]
    domains = domain_net(fixtures.write_domain_net(tmp_path, duplicates=lines))
    sizes = dict(zip(domains.names, map(len, domains.sets), strict=True))
    assert sizes == {"clipart": 6, "infograph": 6, "painting": 6, "quickdraw": 6, "real": 5, "sketch": 5}
    real = domains.sets[4]
    kept = [real.path(i).relative_to(tmp_path).as_posix() for i in range(len(real))]
    assert "real/class_000/pic_000.png" not in kept
    assert "real/class_000/pic_001.png" in kept
    words = "2 duplicates left out (domain_net_duplicates.txt); 3 listed duplicates are not there"
    assert domains.note.endswith(words)


def test_domain_net_without_or_with_two_lists(tmp_path):
    plain = domain_net(fixtures.write_domain_net(tmp_path))
    assert "duplicates are still in" in plain.note
    (tmp_path / "clipart_duplicates_train.txt").write_text("clipart/class_000/pic_000.png\n")
    (tmp_path / "duplicates.txt").write_text("clipart/class_000/pic_001.png\n")
    domains = domain_net(tmp_path)
    assert domains.sets[0].counts().tolist() == [0, 2, 2]
    assert "2 duplicates left out (clipart_duplicates_train.txt, duplicates.txt)" in domains.note
    (tmp_path / "duplicates.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match=r"duplicates\.txt: not UTF-8 text"):
        domain_net(tmp_path)


@pytest.mark.parametrize(
    ("folder", "as_text"), [("eccv_18_all_images_sm", True), ("images", False), ("", True)]
)
def test_terra_listing_equals_the_prepared_tree(tmp_path, folder, as_text):
    tree = terra_incognita(fixtures.write_terra_tree(tmp_path / "tree"))
    root = tmp_path / "copy/terra_incognita"
    root.mkdir(parents=True)
    fixtures.write_terra_listing(root, folder=folder, as_text=as_text)
    listed = terra_incognita(root)
    assert listed.names == tree.names == DOMAINS["terra_incognita"]
    for name, ours, theirs in zip(tree.names, listed.sets, tree.sets, strict=True):
        assert ours.classes == theirs.classes == TERRA_CATEGORIES
        names = [ours.path(i).name for i in range(len(ours))]
        if name == "location_38":  # the one annotated twice with the same category counts
            place = names.index("twice.jpg")
            assert ours.classes[ours.targets[place]] == "dog"
            ours = ours.subset(np.delete(np.arange(len(ours)), place))
        assert [ours.path(i).name for i in range(len(ours))] == [
            theirs.path(i).name for i in range(len(theirs))
        ]
        assert ours.targets.tolist() == theirs.targets.tolist()
        assert ours.pictures([3])[0].tolist() == theirs.pictures([3])[0].tolist()
    assert "4 of 85 pictures of the four locations left out" in listed.note
    assert terra_incognita(tmp_path / "copy").fingerprint == listed.fingerprint


def test_terra_tree_beside_the_camera_trap_copy(tmp_path):
    fixtures.write_terra_tree(tmp_path)
    fixtures.write_terra_listing(tmp_path)
    domains = terra_incognita(tmp_path)
    assert domains.note == f"4 domains below {tmp_path.name}"
    assert [len(s) for s in domains.sets] == [20] * 4


def edit(root, change):
    path = root / "caltech_images_20210113.json"
    listed = json.loads(path.read_text())
    change(listed)
    path.write_text(json.dumps(listed))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d["images"][3].pop("location"), r"images\[3\] has no 'location' \(int or str\)"),
        (lambda d: d["images"][3].update(id=[1]), r"images\[3\] has no 'id'"),
        (lambda d: d["images"][3].update(id=d["images"][2]["id"]), r"images\[3\] has the id .* before it"),
        (lambda d: d["images"][3].update(file_name="../../x.jpg"), r"images\[3\]: .*leads outside"),
        (lambda d: d["annotations"][-1].update(category_id=99), "category_id 99, which 'categories' lacks"),
        (lambda d: d["annotations"][5].update(image_id=None), r"annotations\[5\] has no 'image_id'"),
        (lambda d: d["categories"].clear(), "no list 'categories' with entries"),
        (lambda d: d.pop("annotations"), "no list 'annotations'"),
        (lambda d: [i.update(location="1") for i in d["images"]], "domain 'location_100' is empty"),
    ],
)
def test_a_damaged_listing_is_one_line(tmp_path, change, words):
    edit(fixtures.write_terra_listing(tmp_path, 1), change)
    with pytest.raises(DataError, match=words) as caught:
        terra_incognita(tmp_path)
    assert "\n" not in str(caught.value)
    assert "caltech_images_20210113.json" in str(caught.value)


def test_the_listing_under_another_name(tmp_path):
    fixtures.write_terra_listing(tmp_path)
    wanted = terra_incognita(tmp_path).fingerprint
    (tmp_path / "caltech_bboxes_20200316.json").write_text("{}")  # not looked at: the name decides
    assert terra_incognita(tmp_path).fingerprint == wanted
    (tmp_path / "caltech_images_20210113.json").rename(tmp_path / "mine.json")
    with pytest.raises(DataError, match=r"2 JSON files, .* keep one of \['caltech_bboxes.*, 'mine.json'\]"):
        terra_incognita(tmp_path)
    (tmp_path / "caltech_bboxes_20200316.json").unlink()
    assert terra_incognita(tmp_path).fingerprint == wanted
    (tmp_path / "mine.json").write_text("{")
    with pytest.raises(DataError, match=r"mine\.json:1:2: not valid JSON"):
        terra_incognita(tmp_path)
