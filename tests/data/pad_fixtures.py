"""Tiny anti-spoofing sets in the true layouts of the published ones. Nothing here imports the readers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

SURF_TYPES = ("01_e_s", "02_e_b", "03_en_s", "04_en_b", "05_enm_s", "06_enm_b")
SURF_PARTS = {"Training": (1, SURF_TYPES[3:]), "Val": (2, SURF_TYPES[:3]), "Testing": (3, SURF_TYPES[:3])}
_count = [0]


def picture(path: Path, seed: int | None = None, *, grey: bool = False) -> Path:
    """A picture of 16 x 12 pixels; without a seed, one that no other has."""
    if seed is None:
        _count[0] += 1
        seed = 10_000 + _count[0]
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 12) if grey else (16, 12, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def cameras(
    clip: Path, frames: Sequence[str], *, color: str = "color", also: Sequence[str] = ("depth", "ir")
) -> None:
    """The pictures of a clip, one folder each camera."""
    for frame in frames:
        picture(clip / color / frame)
        for camera in also:
            picture(clip / camera / frame, grey=True)


def write_lines(path: Path, lines: Iterable[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def write_surf(root: Path, people: int = 2, frames: Sequence[str] = ("1.jpg", "11.jpg", "101.jpg")) -> Path:
    """``CASIA_SURF/Data/{Training,Val,Testing}/{real_part,fake_part}/<ID>/<type>.rssdk/{color,depth,ir}``."""
    place = root / "CASIA_SURF"
    for part, (number, types) in SURF_PARTS.items():
        for k in range(people):
            person = f"CLKJ_AS{1000 * number + k:04d}"
            cameras(place / "Data" / part / "real_part" / person / "real.rssdk", frames)
            for kind in types:
                cameras(place / "Data" / part / "fake_part" / person / f"{kind}.rssdk", frames)
    return place


def write_surf_lists(place: Path, kind: str = "video") -> None:
    """The authors' lists: colour path and label, 0 live; of folders or of pictures."""
    for part, split in (("Training", "train"), ("Val", "dev"), ("Testing", "test")):
        folders = sorted((place / "Data" / part).glob("*_part/*/*.rssdk/color"))
        paths = folders if kind == "video" else [p for f in folders for p in sorted(f.iterdir())]
        lines = [f"CASIA_SURF/{p.relative_to(place)} {int('fake_part' in p.parts)}" for p in paths]
        write_lines(place / "protocol" / f"CASIA_SURF@p1_{kind}_{split}.txt", lines)


CEFA_VIDEOS = ("1_1_1", "3_1_2", "3_2_2", "3_1_4")  # device, session, instrument
CEFA_RACES = {"AF": 1, "CA": 2, "EA": 3}


def cefa_clips(ids: Sequence[int]) -> list[str]:
    """Clip folders of these people of each ethnicity, and of two masks."""
    clips = [
        f"Ethnicity/{race}/{race}-{i:03d}/{n}_{i:03d}_{video}"
        for race, n in CEFA_RACES.items()
        for i in ids
        for video in CEFA_VIDEOS
    ]
    return [*clips, "Mask/3D-Mask/073/1_073_1_0_2_1_2", "Mask/Silicone-Mask/001/2_001_1_1_2_1_3"]


def write_cefa(root: Path, ids: Sequence[int] = (0, 200, 300), color: str = "color") -> Path:
    place = root / "CASIA_CeFA"
    for clip in cefa_clips(ids):
        cameras(place / clip, ("0001.jpg", "0002.jpg"), color=color)
    return place


def write_hifimask(root: Path) -> Path:
    """Three people, one for each split, live and masks of three materials."""
    place = root / "CASIA_HiFiMask"
    for protocol in ("p1", "p2.1", "p2.2", "p2.3", "p3"):
        for split, person in (("train", "1_01"), ("dev", "2_26"), ("test", "3_75")):
            names = [f"{person}_{kind}_{scene}_1_{kind + 4}" for kind in range(4) for scene in (1, 4)]
            lines = [f"CASIA_HiFiMask/Data/{n} {int(n.split('_')[2] != '0')}" for n in names]
            write_lines(place / "protocol" / f"CASIA_HiFiMask@{protocol}_video_{split}.txt", lines)
            for name in names:
                for frame in ("0001.png", "0002.png"):
                    if not (place / "Data" / name / frame).exists():
                        picture(place / "Data" / name / frame)
    return place


WMCA_CLIPS = {
    "000_0_00": "live", "000_0_01": "live", "012_1_07": "glasses", "012_1_13": "rigidmask",
    "000_2_01": "fakehead", "000_2_09": "papermask", "000_2_12": "rigidmask", "013_2_82": "flexiblemask",
    "000_3_01": "print", "000_3_05": "replay", "000_4_09": "replay",
}  # fmt: skip


def write_wmca(root: Path, *, hdf5: bool = False) -> Path:
    """The grand test's table and its clips: pictures in ``R_CDIT``, or HDF5 files."""
    place = root / "IDIAP_WMCA"
    rows, number = [",client_id,filepath,group,label"], 0
    for group, client in (("train", 2), ("dev", 5), ("eval", 9)):
        for tail, pai in WMCA_CLIPS.items():
            number += 1
            clip = f"{client:03d}_01_{tail}"
            name = f"face-station/17.01.18/{clip}"
            rows.append(f"{number},{client},{name},{group},{'bonafide' if pai == 'live' else 'attack'}")
            if hdf5:
                write_clip(place / "preprocessed-face-station_CDIT" / f"{name}.hdf5", number)
            else:
                also = ("depth", "ir", "thermal")
                cameras(place / "R_CDIT" / clip, ("0012.jpg", "0024.jpg"), also=also)
    write_lines(place / "WMCA_Grandtest.txt", rows)
    return place


def clip_frames(seed: int, frames: int = 3, channels: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (frames, channels, 10, 8), np.uint8)


def write_clip(path: Path, seed: int = 0, *, frames: int = 3, channels: int = 4) -> Path:
    """An HDF5 clip as WMCA has it: one group a frame, each with its array (C, H, W)."""
    import h5py

    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for k, array in enumerate(clip_frames(seed, frames, channels)):
            file.create_group(f"Frame_{k}").create_dataset("array", data=array)
    return path


def write_video(path: Path, levels: Sequence[int] = (0, 50, 100, 150, 200), size: int = 32) -> Path:
    """A video of flat grey frames of these levels."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.width = stream.height = size
        stream.pix_fmt = "yuvj420p"
        for level in levels:
            pixels = np.full((size, size, 3), level, np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def touch(path: Path) -> Path:
    """A file that stands for a video; nothing decodes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(str(path).encode())
    return path


def oulu_names(users: Iterable[int], phones: Iterable[int] = range(1, 7)) -> list[str]:
    users, phones = list(users), list(phones)
    return [f"{p}_{s}_{u:02d}_{f}" for p in phones for s in (1, 2, 3) for u in users for f in range(1, 6)]


def write_oulu(root: Path) -> Path:
    """Two users in each part, all phones, sessions and files, as empty videos."""
    place = root / "OULU_NPU"
    for part, users in (("Train", (1, 20)), ("Dev", (21, 35)), ("Test", (36, 55))):
        for name in oulu_names(users):
            touch(place / f"{part}_files" / f"{name}.avi")
    return place


def write_oulu_list(place: Path, protocol: str, part: str, names: Iterable[str], phone: str = "") -> Path:
    """An official list: ``+1,1_1_01_1``, -1 print, -2 replay."""
    signs = {"1": "+1", "2": "-1", "3": "-1", "4": "-2", "5": "-2"}
    file = f"{part}{f'_{phone}' if phone else ''}.txt"
    return write_lines(
        place / "Protocols" / f"Protocol_{protocol}" / file, (f"{signs[n[-1]]},{n}" for n in names)
    )


FASD_CLIPS = ("1", "2", "3", "4", "5", "6", "7", "8", "HR_1", "HR_2", "HR_3", "HR_4")


def write_fasd(root: Path, people: int = 2) -> Path:
    place = root / "CASIA_FASD"
    for part in ("train_release", "test_release"):
        for person in range(1, people + 1):
            for clip in FASD_CLIPS:
                touch(place / part / str(person) / f"{clip}.avi")
    return place


def write_replay(root: Path) -> Path:
    """One client in each part: two live clips and ten attacks, each fixed and held."""
    place = root / "ReplayAttack"
    for part, client in (("train", 1), ("devel", 3), ("test", 9)):
        who = f"client{client:03d}_session01"
        for light in ("adverse", "controlled"):
            touch(place / part / "real" / f"{who}_webcam_authenticate_{light}_1.mov")
            for held in ("fixed", "hand"):
                folder = place / part / "attack" / held
                for medium in ("mobile_photo", "mobile_video", "highdef_photo", "highdef_video"):
                    touch(folder / f"attack_{medium.split('_')[0]}_{who}_{medium}_{light}.mov")
                touch(folder / f"attack_print_{who}_highdef_photo_{light}.mov")
    return place


def write_msu(root: Path) -> Path:
    """Clients 2, 3 to train, 1 to test; videos with the annotations that lie beside them."""
    place = root / "MSU_MFSD"
    for client in (1, 2, 3):
        for device, ending in (("laptop", "mov"), ("android", "mp4")):
            stem = f"real_client{client:03d}_{device}_SD_scene01"
            touch(place / "scene01/real" / f"{stem}.{ending}")
            touch(place / "scene01/real" / f"{stem}.face")
            for pai in ("printed_photo", "ipad_video", "iphone_video"):
                touch(
                    place / "scene01/attack" / f"attack_client{client:03d}_{device}_SD_{pai}_scene01.{ending}"
                )
    write_lines(place / "train_sub_list.txt", ["02", "03"])
    write_lines(place / "test_sub_list.txt", ["01"])
    return place


def write_flexible(root: Path) -> Path:
    """The benchmark's lists with the frames that they name."""

    def line(clip: str, frame: str, label: int, color: str = "color") -> str:
        for camera in (color, "depth", "ir"):
            picture(root / clip / camera / frame, grey=camera != color)
        return " ".join(f"{clip}/{camera}/{frame}" for camera in (color, "depth", "ir")) + f" {label}"

    surf = "CASIA-SURF-CROP/{0}_part/{0}_{1}_part/CLKJ_{2}/{3}.rssdk"
    cefa = "CeFA/CeFA-Race/CA/CA-{0}/2_{0}_{1}"
    for split, person, number in (
        ("train", "AS0001", "000"),
        ("val", "AS0010", "200"),
        ("test", "BS0001", "300"),
    ):
        lines = [line(surf.format("real", split, person, "real"), f"{f}.jpg", 1) for f in (31, 161)]
        lines += [line(surf.format("fake", split, person, k), "41.jpg", 0) for k in SURF_TYPES]
        lines += [line(cefa.format(number, "1_1_1"), "0003.jpg", 1, "profile")]
        lines += [line(cefa.format(number, "3_1_4"), "0003.jpg", 0, "profile")]
        if split == "test":
            lines.append(line("CeFA/CeFA-Mask/3D-Mask/003/1_003_0_0_2_2_3", "0005.jpg", 0, "profile"))
        write_lines(root / "FlexModal_Protocols" / f"CASIA-SURF_CeFA_{split}.txt", lines)
    live = [line("WMCA-Image/R_CDIT/001_01_000_0_00", "0012.jpg", 1)]
    names = {"print": "3_01", "replay": "4_09", "glasses": "1_07", "fakehead": "2_01", "rigidmask": "2_12",
             "flexiblemask": "2_82", "papermask": "2_09"}  # fmt: skip
    attacks = {k: line(f"WMCA-Image/R_CDIT/001_01_000_{v}", "0012.jpg", 0) for k, v in names.items()}
    write_lines(root / "FlexModal_Protocols/WMCA_test.txt", live + list(attacks.values()))
    for attack, text in attacks.items():
        write_lines(root / "FlexModal_Protocols" / f"WMCA_test_{attack}.txt", [text])
    return root
