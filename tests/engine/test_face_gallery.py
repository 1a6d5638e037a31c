from __future__ import annotations

import numpy as np
import pytest

from mien.core.errors import DataError, MissingPackageError
from mien.engine import face_gallery
from mien.engine.face_gallery import Gallery, gallery_files
from tests.data.fixtures import write_picture


def unit(n, d=16, seed=0):
    e = np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)
    return e / np.linalg.norm(e, axis=1, keepdims=True)


def test_the_nearest_people_by_their_nearest_picture():
    vectors, names = unit(60), tuple(f"p{k // 6}" for k in range(60))
    queries = unit(700, seed=1)
    found = Gallery(names, vectors).search(queries, 3)
    assert len(found) == 700
    for query, people in zip(queries[::50], found[::50], strict=True):
        cosines = vectors @ query
        best = sorted(((float(cosines[6 * k : 6 * k + 6].max()), f"p{k}") for k in range(10)), reverse=True)
        assert [p for p, _ in people] == [name for _, name in best[:3]]
        assert [c for _, c in people] == pytest.approx([c for c, _ in best[:3]], abs=1e-6)


def test_a_person_with_many_pictures_does_not_hide_others():
    vectors = np.concatenate([np.repeat(unit(1), 50, 0), unit(2, seed=3)])
    names = ("many",) * 50 + ("a", "b")
    (people,) = Gallery(names, vectors).search(unit(1), 5)
    assert {p for p, _ in people} == {"many", "a", "b"}
    assert people[0] == ("many", pytest.approx(1))


def test_beyond_the_limit_an_index_is_asked(monkeypatch):
    pytest.importorskip("faiss")
    vectors, names = unit(3000), tuple(f"p{k}" for k in range(3000))
    exact = Gallery(names, vectors).search(vectors[:200], 5)
    monkeypatch.setattr(face_gallery, "EXACT", 1000)
    large = Gallery(names, vectors)
    assert "approximate" in large.rule
    found = large.search(vectors[:200], 5)
    assert [f[0] for f in found] == [(e[0][0], pytest.approx(e[0][1], abs=1e-5)) for e in exact]
    hits = [len({p for p, _ in a} & {p for p, _ in b}) for a, b in zip(found, exact, strict=True)]
    assert np.mean(hits) > 4.8


def test_without_the_library_it_says_what_to_install(monkeypatch):
    def absent(package, *, extra):
        raise MissingPackageError(
            f"{package} is not installed; it is needed here: pip install 'mien[{extra}]'"
        )

    monkeypatch.setattr(face_gallery, "EXACT", 10)
    monkeypatch.setattr(face_gallery, "require", absent)
    with pytest.raises(MissingPackageError, match=r"faiss is not installed.*mien\[search\]"):
        Gallery(("a",) * 20, unit(20)).search(unit(1), 1)


def test_names_of_a_gallery(tmp_path):
    write_picture(tmp_path / "ann/1.png")
    write_picture(tmp_path / "ann/album/2.png")
    write_picture(tmp_path / "bob.jpg")
    (tmp_path / "ann/notes.txt").write_text("x")
    assert [(n, p.name) for n, p in gallery_files(tmp_path)] == [
        ("ann", "1.png"),
        ("ann", "2.png"),
        ("bob", "bob.jpg"),
    ]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no pictures there"):
        gallery_files(tmp_path / "empty")
    with pytest.raises(DataError, match="no such folder"):
        gallery_files(tmp_path / "none")


def test_of_a_made_set_the_people_are_the_gallery_not_its_sheet(tmp_path):
    for person in ("000000", "000001"):
        write_picture(tmp_path / "faces" / person / "0.png")
    write_picture(tmp_path / "sheet.png")
    (tmp_path / "set.json").write_text('{"kind": "faces", "shards": false}')
    assert [name for name, _ in gallery_files(tmp_path)] == ["000000", "000001"]
    (tmp_path / "set.json").write_text('{"kind": "pad"}')
    with pytest.raises(DataError, match="a made set of pad, expected faces or heads"):
        gallery_files(tmp_path)
