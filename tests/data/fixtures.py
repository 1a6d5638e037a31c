"""Tiny sets in the true layouts of the published ones. Nothing here imports the readers."""

from __future__ import annotations

import gzip
import json
import pickle
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def pixels(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def write_picture(path: Path, seed: int = 0, size: tuple[int, int] = (12, 9)) -> Path:
    """A small picture for each seed; ``size`` is (height, width), the ending gives the format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = "JPEG" if path.suffix.lower() in (".jpg", ".jpeg") else "PNG"
    with open(path, "wb") as stream:
        Image.fromarray(pixels(seed, *size, 3)).save(stream, format=kind)
    return path


def idx_bytes(array: np.ndarray) -> bytes:
    head = struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(np.uint8).tobytes()


def write_idx(
    folder: Path,
    per_class: int | Sequence[int] = 20,
    test_per_class: int = 3,
    *,
    classes: int = 10,
    size: int = 28,
    packed: bool = True,
    dotted: bool = False,
) -> Path:
    """The four files of MNIST or Fashion-MNIST (name the folder ``fashion`` for the latter)."""
    folder.mkdir(parents=True, exist_ok=True)
    counts = [per_class] * classes if isinstance(per_class, int) else list(per_class)
    for part, here, seed in (("train", counts, 1), ("t10k", [test_per_class] * len(counts), 2)):
        labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(here)), here))
        arrays = {"images-idx3": pixels(seed, len(labels), size, size), "labels-idx1": labels}
        for name, array in arrays.items():
            file = f"{part}-{name.replace('-', '.') if dotted else name}-ubyte"
            data = idx_bytes(array)
            if packed:
                (folder / f"{file}.gz").write_bytes(gzip.compress(data, mtime=0))
            else:
                (folder / file).write_bytes(data)
    return folder


class Python2:
    """Writes pickles with the opcodes of Python 2 (protocol 2), as in the published CIFAR files."""

    def dumps(self, value: Any) -> bytes:
        return b"\x80\x02" + self._item(value) + b"."

    def _item(self, value: Any) -> bytes:
        if isinstance(value, dict):
            return b"}(" + b"".join(self._item(k) + self._item(v) for k, v in value.items()) + b"u"
        if isinstance(value, list):
            return b"](" + b"".join(map(self._item, value)) + b"e"
        if isinstance(value, tuple):
            return b"(" + b"".join(map(self._item, value)) + b"t"
        if isinstance(value, str):
            return self._bytes(value.encode())
        if isinstance(value, (bool, type(None))):
            return {True: b"\x88", False: b"\x89", None: b"N"}[value]
        if isinstance(value, int):
            return b"J" + struct.pack("<i", value)
        return self._array(value)

    @staticmethod
    def _bytes(data: bytes) -> bytes:
        return (
            b"U" + bytes([len(data)]) + data
            if len(data) < 256
            else b"T" + struct.pack("<i", len(data)) + data
        )

    def _array(self, array: np.ndarray) -> bytes:
        dtype = b"cnumpy\ndtype\n" + self._item(("u1", 0, 1)) + b"R"
        dtype += self._item((3, "|", None, None, None, -1, -1, 0)) + b"b"
        shape = self._item(tuple(array.shape))
        state = b"(" + self._item(1) + shape + dtype + self._item(False) + self._bytes(array.tobytes()) + b"t"
        made = (
            b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n" + self._item((0,)) + self._bytes(b"b")
        )
        return made + b"tR" + state + b"b"


def cifar_rows(images: np.ndarray) -> np.ndarray:
    """(N, 32, 32, 3) as rows of 3072, channel-major."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)).reshape(len(images), 3072)


def _cifar_batch(labels: np.ndarray, seed: int, *, size: int = 4) -> tuple[dict[str, Any], np.ndarray]:
    # Blocks of one colour: as varied as noise, and quick to make.
    images = pixels(seed, len(labels), size, size, 3).repeat(32 // size, axis=1).repeat(32 // size, axis=2)
    names = [f"picture_{seed}_{i}.png" for i in range(len(labels))]
    return {"filenames": names, "data": cifar_rows(images)}, images


def _pickled(value: Any, protocol: int | None) -> bytes:
    return Python2().dumps(value) if protocol is None else pickle.dumps(value, protocol=protocol)


def write_cifar10(
    root: Path, per_class: int = 10, test_per_class: int = 2, *, protocol: int | None = None
) -> tuple[Path, np.ndarray, np.ndarray]:
    """``cifar-10-batches-py`` in ``root``; returns it, all training images (N, 32, 32, 3) and their labels.

    ``protocol`` None writes what Python 2 wrote; a number is Python 3's pickle.
    """
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True, exist_ok=True)
    order = np.random.default_rng(0).permutation(np.repeat(np.arange(10), per_class))
    all_images = []
    for number, labels in enumerate(np.array_split(order, 5), 1):
        batch, images = _cifar_batch(labels, number)
        batch |= {"batch_label": f"training batch {number} of 5", "labels": labels.tolist()}
        (folder / f"data_batch_{number}").write_bytes(_pickled(batch, protocol))
        all_images.append(images)
    labels = np.repeat(np.arange(10), test_per_class)
    batch = _cifar_batch(labels, 9)[0] | {"batch_label": "testing batch 1 of 1", "labels": labels.tolist()}
    (folder / "test_batch").write_bytes(_pickled(batch, protocol))
    names = "airplane automobile bird cat deer dog frog horse ship truck".split()
    meta = {"num_cases_per_batch": 10000, "label_names": names, "num_vis": 3072}
    (folder / "batches.meta").write_bytes(_pickled(meta, protocol))
    return folder, np.concatenate(all_images), order


def write_cifar100(
    root: Path, per_class: int = 5, test_per_class: int = 1, *, protocol: int | None = None
) -> Path:
    """``cifar-100-python`` in ``root``: train, test and meta."""
    folder = root / "cifar-100-python"
    folder.mkdir(parents=True, exist_ok=True)
    for name, count, seed in (("train", per_class, 1), ("test", test_per_class, 2)):
        labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(100), count))
        batch = _cifar_batch(labels, seed)[0]
        batch |= {
            "batch_label": name,
            "fine_labels": labels.tolist(),
            "coarse_labels": (labels // 5).tolist(),
        }
        (folder / name).write_bytes(_pickled(batch, protocol))
    meta = {
        "fine_label_names": [f"fine_{i}" for i in range(100)],
        "coarse_label_names": [f"coarse_{i}" for i in range(20)],
    }
    (folder / "meta").write_bytes(_pickled(meta, protocol))
    return folder


def write_list(path: Path, pairs: Iterable[tuple[str, int]]) -> Path:
    path.write_text("".join(f"{name} {label}\n" for name, label in pairs), encoding="utf-8")
    return path


def write_imagenet_lt(root: Path, labels: Sequence[int] = (0, 0, 0, 0, 1, 1, 999), *, size: int = 40) -> Path:
    """ImageNet-LT: the three lists, pictures below ``train/WNID`` and ``val``."""
    root.mkdir(parents=True, exist_ok=True)
    seen = sorted(set(labels))
    train = [(f"train/n{1440764 + c:08d}/n{1440764 + c:08d}_{i}.JPEG", c) for i, c in enumerate(labels)]
    val = [(f"train/n{1440764 + c:08d}/n{1440764 + c:08d}_{9000 + i}.JPEG", c) for i, c in enumerate(seen)]
    test = [(f"val/ILSVRC2012_val_{i + 1:08d}.JPEG", c) for i, c in enumerate(seen * 2)]
    return _listed(root, "ImageNet_LT", {"train": train, "val": val, "test": test}, size)


def write_places_lt(
    root: Path, labels: Sequence[int] = (0, 0, 0, 0, 1, 1, 364), *, size: int = 40, has_test: bool = True
) -> Path:
    """Places-LT: the three lists, pictures below ``data_256/LETTER/SCENE`` and ``val_256``."""
    root.mkdir(parents=True, exist_ok=True)
    scenes = {c: f"{'az'[c > 0]}/scene_{c}" for c in set(labels)}
    train = [(f"data_256/{scenes[c]}/{i:08d}.jpg", c) for i, c in enumerate(labels)]
    val = [(f"data_256/{scenes[c]}/{5000 + i:08d}.jpg", c) for i, c in enumerate(sorted(set(labels)))]
    test = [(f"val_256/Places365_val_{i:08d}.jpg", c) for i, c in enumerate(sorted(set(labels)) * 2)]
    lists = {"train": train, "val": val} | ({"test": test} if has_test else {})
    return _listed(root, "Places_LT", lists, size)


def _listed(root: Path, prefix: str, lists: dict[str, list[tuple[str, int]]], size: int) -> Path:
    for number, (part, pairs) in enumerate(lists.items()):
        write_list(root / f"{prefix}_{part}.txt", pairs)
        for seed, (name, _) in enumerate(pairs):
            write_picture(root / name, 1000 * number + seed, (size, size))
    return root


def write_inat2018(
    root: Path,
    images: Sequence[int] = (0, 0, 0, 0, 1, 1, 8141),
    categories: int = 8142,
    *,
    ids: Sequence[int] | None = None,
    size: int = 40,
) -> Path:
    """Both JSON files of iNaturalist 2018 and its pictures; ``images`` are the classes of training images.

    ``ids`` are the category ids, by class; default 0, 1, 2, ...
    """
    root.mkdir(parents=True, exist_ok=True)
    ids = range(categories) if ids is None else ids
    kinds = ("Plantae", "Insecta", "Aves")
    known = [{"id": ids[c], "name": f"Species {c}", "supercategory": kinds[c % 3]} for c in range(categories)]
    for part, labels, start in (("train", images, 1), ("val", sorted(set(images)), 500_001)):
        listed = {
            "info": {"year": 2018, "version": "1"},
            "licenses": [{"id": 1, "name": "CC BY-NC", "url": ""}],
            "categories": known,
            "images": [],
            "annotations": [],
        }
        for number, c in enumerate(labels, start):
            name = f"train_val2018/{kinds[c % 3]}/{ids[c]}/{number:032x}.jpg"
            entry = {"id": number, "file_name": name, "width": size, "height": size, "license": 1}
            listed["images"].append(entry | {"rights_holder": "somebody"})
            listed["annotations"].append({"id": number, "image_id": number, "category_id": ids[c]})
            write_picture(root / name, number, (size, size))
        listed["annotations"].reverse()  # order need not agree
        (root / f"{part}2018.json").write_text(json.dumps(listed), encoding="utf-8")
    return root


def write_json(
    root: Path,
    counts: Sequence[int] = (5, 3, 2),
    parts: Sequence[str] = ("train", "val", "test"),
    *,
    size: tuple[int, int] = (40, 32),
    name: str = "{part}.json",
) -> Path:
    """The JSON form of the released code; ``counts`` by class for training, one each in val and test."""
    root.mkdir(parents=True, exist_ok=True)
    for number, part in enumerate(parts):
        here = counts if part == "train" else [1] * len(counts)
        annotations = []
        for i, c in enumerate(np.repeat(np.arange(len(here)), here).tolist()):
            path = f"images/{part}/{c}/{i}.jpg"
            write_picture(root / path, 1000 * number + i, size)
            declared = {"im_height": size[0], "im_width": size[1]}
            annotations.append({"image_id": i, "fpath": path, **declared, "category_id": c})
        text = json.dumps({"annotations": annotations, "num_classes": len(counts)})
        (root / name.format(part=part)).write_text(text, encoding="utf-8")
    return root


def write_folder(
    root: Path,
    counts: dict[str, int] | None = None,
    *,
    parts: Sequence[str] = (),
    size: tuple[int, int] = (12, 9),
    suffix: str = ".png",
) -> Path:
    """An image folder: ``root/CLASS/*``, or ``root/PART/CLASS/*`` for each of ``parts``."""
    counts = {"ant": 10, "bee": 10, "cow": 10} if counts is None else counts
    seed = 0
    for part in parts or ("",):
        for name, count in counts.items():
            (root / part / name).mkdir(parents=True, exist_ok=True)
            for i in range(count):
                write_picture(root / part / name / f"{name}_{part}{i}{suffix}", seed, size)
                seed += 1
    return root


def write_domains(root: Path, layout: dict[str, dict[str, int]], *, size: tuple[int, int] = (40, 36)) -> Path:
    """``root/domain/class/N.png``: so many pictures of every class in every domain."""
    seed = 0
    for domain, classes in layout.items():
        for name, count in classes.items():
            for i in range(count):
                seed += 1
                write_picture(root / domain / name / f"pic_{i:03d}.png", seed, size)
    return root


PACS_CLASSES = ("dog", "elephant", "giraffe", "guitar", "horse", "house", "person")


def write_pacs(root: Path, per_class: int = 3) -> Path:
    """Four domains, seven classes."""
    domains = ("art_painting", "cartoon", "photo", "sketch")
    return write_domains(root, {d: dict.fromkeys(PACS_CLASSES, per_class) for d in domains})


def write_vlcs(root: Path, per_class: int = 2) -> Path:
    """Four domains, five classes."""
    classes = ("bird", "car", "chair", "dog", "person")
    domains = ("Caltech101", "LabelMe", "SUN09", "VOC2007")
    return write_domains(root, {d: dict.fromkeys(classes, per_class) for d in domains}, size=(12, 9))


def write_office_home(root: Path, per_class: int = 1, classes: int = 65) -> Path:
    """Four domains (one with a space in its name), 65 classes, and the text files of the archive."""
    names = [f"Class_{c:02d}" for c in range(classes)]
    domains = ("Art", "Clipart", "Product", "Real World")
    write_domains(root, {d: dict.fromkeys(names, per_class) for d in domains}, size=(12, 9))
    (root / "ImageInfo.csv").write_text("name,size\n")
    return root


def write_domain_net(
    root: Path, per_class: int = 2, classes: int = 3, duplicates: Sequence[str] = ()
) -> Path:
    """Six domains; ``duplicates`` are the lines of the list of duplicates, none = no list."""
    names = [f"class_{c:03d}" for c in range(classes)]
    domains = ("clipart", "infograph", "painting", "quickdraw", "real", "sketch")
    write_domains(root, {d: dict.fromkeys(names, per_class) for d in domains}, size=(12, 9))
    if duplicates:
        (root / "domain_net_duplicates.txt").write_text("".join(f"{line}\n" for line in duplicates))
    return root


TERRA_CLASSES = (
    "bird", "bobcat", "cat", "coyote", "dog", "empty", "opossum", "rabbit", "raccoon", "squirrel",
)  # fmt: skip
TERRA_LOCATIONS = (38, 43, 46, 100)


def _terra_name(location: int, label: int, number: int) -> str:
    """File names in the order of neither place nor class, as in the published set."""
    return f"{(7919 * (100 * location + 10 * label + number)) % 100003:08x}-{location}.jpg"


def write_terra_tree(root: Path, per_class: int = 2) -> Path:
    """The four prepared locations, ten classes; the same pictures as `write_terra_listing`."""
    for location in TERRA_LOCATIONS:
        for c, name in enumerate(TERRA_CLASSES):
            for i in range(per_class):
                file = _terra_name(location, c, i)
                write_picture(root / f"location_{location}" / name / file, 1000 * location + 10 * c + i)
    return root


def write_terra_listing(
    root: Path, per_class: int = 2, *, folder: str = "eccv_18_all_images_sm", as_text: bool = True
) -> Path:
    """The camera-trap JSON and its pictures; locations as text or as numbers.

    Besides the pictures of `write_terra_tree` it lists, at location 38, one with two categories of the ten,
    one with one of the ten and one other, one with another only, one without annotation, one annotated twice
    with the same category (which counts); and one at another location.
    """
    names = [*TERRA_CLASSES, "car", "deer"]
    order = [5, 3, 1, 30, 11, 33, 9, 8, 7, 6, 4, 2]  # ids in no order, and with gaps
    ids = dict(zip(names, order, strict=True))
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []

    def add(location: int, file: str, categories: Sequence[str], seed: int) -> None:
        identity = f"id-{file}"
        place = str(location) if as_text else location
        images.append({"id": identity, "file_name": file, "location": place, "width": 9, "height": 12})
        for name in categories:
            annotations.append({"id": str(len(annotations)), "image_id": identity, "category_id": ids[name]})
        write_picture(root / folder / file, seed)

    for location in TERRA_LOCATIONS:
        for c, name in enumerate(TERRA_CLASSES):
            for i in range(per_class):
                add(location, _terra_name(location, c, i), [name], 1000 * location + 10 * c + i)
    add(38, "two.jpg", ["cat", "dog"], 1)
    add(38, "beside.jpg", ["cat", "car"], 2)
    add(38, "other.jpg", ["deer"], 3)
    add(38, "nothing.jpg", [], 4)
    add(38, "twice.jpg", ["dog", "dog"], 5)
    add(7, "elsewhere.jpg", ["dog"], 6)
    annotations.reverse()
    categories = [{"id": ids[name], "name": name} for name in names]
    listed = {
        "info": {"version": "1"},
        "images": images,
        "annotations": annotations,
        "categories": categories,
    }
    (root / "caltech_images_20210113.json").write_text(json.dumps(listed), encoding="utf-8")
    return root
