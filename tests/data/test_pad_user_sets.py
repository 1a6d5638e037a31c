"""A user's set as splits: every kind is read, and what would spoil a training is refused before it."""

import logging
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.core.errors import ConfigError, DataError
from mien.data.config import PadData
from mien.data.pad_files import PadFiles
from mien.data.pad_ocim import CasiaFasd
from mien.data.pad_sample import PadList, PadSample
from mien.data.pad_user_sets import SPLITS, hold_out_dev, user_lists
from mien.data.pads import read_pad
from tests.data.pad_fixtures import (
    cameras,
    picture,
    write_cefa,
    write_fasd,
    write_flexible,
    write_hifimask,
    write_msu,
    write_oulu,
    write_replay,
    write_surf,
    write_wmca,
)

WHOLE = ("rgb", "depth", "ir")
KINDS = {
    "casia_surf": (write_surf, None, WHOLE),
    "cefa": (write_cefa, "p4.1", WHOLE),
    "wmca": (write_wmca, "LOO_prints", WHOLE),
    "hifimask": (write_hifimask, "p1", ("rgb",)),
    "flexible": (write_flexible, None, WHOLE),
    "oulu": (write_oulu, "1", ("rgb",)),
    "replay_attack": (write_replay, None, ("rgb",)),
    "casia_fasd": (write_fasd, None, ("rgb",)),
    "msu_mfsd": (write_msu, None, ("rgb",)),
}


def data_of(kind: str, root: Path, **more: object) -> PadData:
    return PadData(kind=kind, root=str(root), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_read(kind: str, tmp_path: Path) -> None:
    write, protocol, modalities = KINDS[kind]
    write(tmp_path)
    splits = read_pad(data_of(kind, tmp_path, protocol=protocol))
    assert splits.real
    parts = (splits.train, splits.dev, splits.test)
    for part in parts:
        assert part.modalities == modalities
        assert part.labels.live.any()
        assert not part.labels.live.all()
    assert len(splits.train) == len(set(splits.train.labels.videos))  # one frame of each video
    people = [set(p.labels.subjects) for p in parts]
    assert not people[0] & people[1]
    assert not people[0] & people[2] or kind in ("flexible", "oulu")  # fixtures with few people
    again = read_pad(data_of(kind, tmp_path, protocol=protocol))
    assert again.fingerprint == splits.fingerprint
    assert len({p.fingerprint for p in parts}) == 3


def test_first_and_last_frames_are_tested(tmp_path: Path) -> None:
    write_surf(tmp_path, frames=("1.jpg", "5.jpg", "9.jpg", "30.jpg"))
    splits = read_pad(data_of("casia_surf", tmp_path))
    assert isinstance(splits.test, PadFiles)
    assert {s.frame for s in splits.test.pads.samples} == {"1", "30"}
    assert len(splits.test) == 2 * len(set(splits.test.labels.videos))


def test_cross_sets_lie_in_one_folder(tmp_path: Path) -> None:
    for write in (write_oulu, write_replay, write_fasd, write_msu):
        write(tmp_path)
    splits = read_pad(data_of("ocim", tmp_path, protocol="I&C&M->O"))
    assert {s.split("/")[0] for s in splits.test.labels.subjects} == {"oulu_npu"}
    assert {s.split("/")[0] for s in splits.train.labels.subjects} == {
        "replay_attack",
        "casia_fasd",
        "msu_mfsd",
    }
    assert "I&C&M->O" in splits.note
    with pytest.raises(ConfigError, match="no cross-set protocol 'O->M'"):
        read_pad(data_of("ocim", tmp_path, protocol="O->M"))


def test_the_flexible_benchmark_has_thresholds_for_all_cameras_and_a_cross_test(tmp_path: Path) -> None:
    write_flexible(tmp_path)
    splits = read_pad(data_of("flexible", tmp_path, protocol="2"))
    assert splits.train.modalities == splits.dev.modalities == WHOLE
    assert splits.test.modalities == ("rgb", "depth")
    assert len(splits.get("test_wmca")) == 8


def test_sets_without_a_dev_split_lend_it_subjects_of_training(tmp_path: Path) -> None:
    write_fasd(tmp_path, people=8)
    splits = read_pad(data_of("casia_fasd", tmp_path))
    assert len(set(splits.train.labels.subjects)) == 6
    assert len(set(splits.dev.labels.subjects)) == 2
    assert "no dev split: 25% of the training subjects" in splits.note


def test_held_out_subjects_do_not_depend_on_the_order_of_the_list(tmp_path: Path) -> None:
    write_fasd(tmp_path, people=8)
    train = CasiaFasd(tmp_path, "all", "train")
    turned = PadList(train.name, train.protocol, train.split, train.samples[::-1])
    first, second = (hold_out_dev(x) for x in (train, turned))
    assert {s.video_id for s in first[1].samples} == {s.video_id for s in second[1].samples}
    assert len(first[0]) + len(first[1]) == len(train)
    one = PadList("mine", "", "train", tuple(s for s in train.samples if s.subject == "train-1"))
    with pytest.raises(DataError, match="mine train: one subject, and no dev split"):
        hold_out_dev(one)
    assert first[1].split == "dev"


def write_csv(root: Path, rows: list[str], header: str = "rgb,ir,label,split,subject") -> Path:
    path = root / "mine.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def some_rows(root: Path, splits: tuple[str, ...] = SPLITS) -> list[str]:
    rows = []
    for split in splits:
        for k in range(4):
            name = f"{split}{k}"
            picture(root / f"{name}.png")
            picture(root / f"{name}_ir.png", grey=True)
            rows.append(f"{name}.png,{name}_ir.png,{k % 2},{split},{split}{k // 2}")
    return rows


def test_a_table_of_ones_own(tmp_path: Path) -> None:
    path = write_csv(tmp_path, some_rows(tmp_path))
    splits = read_pad(data_of("csv", path, convention="live1"))
    assert [len(p) for p in (splits.train, splits.dev, splits.test)] == [4, 4, 4]
    assert splits.train.modalities == ("rgb", "ir")
    other = read_pad(data_of("csv", path, convention="live0"))
    assert other.train.labels.live.tolist() == (~splits.train.labels.live).tolist()
    assert "could not be verified" in splits.note
    part = write_csv(tmp_path, some_rows(tmp_path, ("train", "test")))
    assert "no dev split" in read_pad(data_of("csv", part, convention="live1")).note


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ("folder", DataError, "a folder; give the CSV table itself"),
        ("convention", ConfigError, "what does its label 1 mean"),
        ("split", DataError, "no column 'split'"),
        ("test", DataError, "no rows of split test"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path: Path, change: str, error: type, text: str) -> None:
    rows = some_rows(tmp_path)
    header = "rgb,ir,label,split,subject"
    if change == "split":
        header = header.replace("split", "part")
    path = write_csv(tmp_path, rows[:8] if change == "test" else rows, header)
    convention = None if change == "convention" else "live1"
    with pytest.raises(error, match=text):
        user_lists(data_of("csv", tmp_path if change == "folder" else path, convention=convention))


def test_a_dev_split_of_one_class_is_refused_before_training(tmp_path: Path) -> None:
    place = write_surf(tmp_path)
    shutil.rmtree(place / "Data" / "Val" / "fake_part")
    with pytest.raises(DataError, match=r"casia_surf p1 dev: all 6 presentations are live; .* need attacks"):
        read_pad(data_of("casia_surf", tmp_path))


def test_unseen_species_must_leave_some_attacks(tmp_path: Path) -> None:
    write_cefa(tmp_path)
    with pytest.raises(DataError, match="train without screen: all 1 presentations are live"):
        read_pad(data_of("cefa", tmp_path, protocol="p4.1", unseen=("screen",)))


def pictures_of(place: Path, camera: str) -> list[Path]:
    return sorted(place.glob(f"Data/*/*_part/*/*.rssdk/{camera}/*.jpg"))


def test_infrared_that_is_the_grey_of_colour_is_refused(tmp_path: Path) -> None:
    place = write_surf(tmp_path)
    for path in pictures_of(place, "ir"):
        Image.open(str(path).replace("/ir/", "/color/")).convert("L").save(path, quality=95)
    with pytest.raises(DataError, match="the infrared slot holds a copy of the colour picture"):
        read_pad(data_of("casia_surf", tmp_path))


def test_a_colour_picture_in_the_depth_slot_is_refused(tmp_path: Path) -> None:
    place = write_surf(tmp_path)
    for path in pictures_of(place, "depth"):
        picture(path)
    with pytest.raises(DataError, match="the depth slot holds a colour picture"):
        read_pad(data_of("casia_surf", tmp_path))


def test_depth_in_a_wrong_unit_is_refused(tmp_path: Path) -> None:
    rows = []
    for split in SPLITS:
        for k in range(4):
            picture(tmp_path / f"{split}{k}.png")
            np.save(tmp_path / f"{split}{k}.npy", np.full((6, 6), 650.0 + k))  # millimetres, as floats
            rows.append(f"{split}{k}.png,{split}{k}.npy,{k % 2},{split}")
    path = write_csv(tmp_path, rows, "rgb,depth,label,split")
    with pytest.raises(DataError, match="its numbers look like millimetres"):
        read_pad(data_of("csv", path, convention="live1"))


def test_people_in_two_splits_are_warned_about(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [re.sub(r"[a-z]+(\d)$", r"person\1", row) for row in some_rows(tmp_path)]
    with caplog.at_level(logging.WARNING):
        read_pad(data_of("csv", write_csv(tmp_path, rows), convention="live1"))
    assert "2 subjects are in train and in dev: person0, person1" in caplog.text


def test_a_set_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--data\.root DIR"):
        read_pad(PadData(kind="cefa"))
    with pytest.raises(DataError, match="no such folder"):
        read_pad(data_of("cefa", tmp_path / "nowhere"))
    with pytest.raises(DataError, match="complete the set"):
        read_pad(data_of("cefa", tmp_path))
    with pytest.raises(ConfigError, match="no protocol 'p9'"):
        read_pad(data_of("cefa", tmp_path, protocol="p9"))
    with pytest.raises(ConfigError, match=r"PadData.protocol does not apply to kind='csv'"):
        data_of("csv", tmp_path, protocol="p1")
    with pytest.raises(ConfigError, match=r"root does not apply to kind=.debug."):
        data_of("debug", tmp_path)


def test_samples_of_a_missing_camera_are_listed_without_it(tmp_path: Path) -> None:
    """A clip without infrared: the set has the cameras that all clips have."""
    place = write_surf(tmp_path)
    bare = place / "Data" / "Training" / "real_part" / "CLKJ_AS1077" / "real.rssdk"
    cameras(bare, ("1.jpg",), also=("depth",))
    assert read_pad(data_of("casia_surf", tmp_path)).train.modalities == ("rgb", "depth")


def test_samples_keep_their_own_pictures(tmp_path: Path) -> None:
    """The three cameras of a sample are three different pictures."""
    write_surf(tmp_path)
    splits = read_pad(data_of("casia_surf", tmp_path))
    grey = splits.test.pictures("rgb", [0])[0].mean(-1)
    depth, ir = (splits.test.pictures(m, [0])[0][..., 0] for m in ("depth", "ir"))
    assert not np.array_equal(depth, ir)
    assert abs(np.corrcoef(grey.ravel(), ir.ravel())[0, 1]) < 0.5
    assert isinstance(splits.test, PadFiles)
    assert isinstance(splits.test.pads.samples[0], PadSample)
