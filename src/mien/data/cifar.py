"""CIFAR-10-LT and CIFAR-100-LT from the python-pickle batches, of which nothing is ever executed."""

from __future__ import annotations

import io
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.core.errors import DataError
from mien.data.config import ClassificationData
from mien.data.labelled import ArrayImages, Splits
from mien.data.lists import empty_classes_note
from mien.data.longtail import configured, hold_out, take
from mien.data.pickles import bounded_bytes, check_opcodes


@dataclass(frozen=True)
class Layout:
    """Files and keys of one CIFAR set."""

    folder: str
    train: tuple[str, ...]
    test: str
    meta: str
    labels: str
    names: str
    num_classes: int
    n_max: int


LAYOUTS = {
    "cifar10_lt": Layout(
        "cifar-10-batches-py",
        tuple(f"data_batch_{i}" for i in range(1, 6)),
        "test_batch",
        "batches.meta",
        "labels",
        "label_names",
        10,
        5000,
    ),
    "cifar100_lt": Layout(
        "cifar-100-python", ("train",), "test", "meta", "fine_labels", "fine_label_names", 100, 500
    ),
}


class _Array:
    """Stands for a pickled ndarray: keeps the state, runs no numpy code on it."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        """Keeps what pickle would give to the array."""
        self.state = state

    def uint8(self) -> NDArray[np.uint8]:
        """The array, rebuilt from its bytes."""
        if self.state is not None:  # _reconstruct(...) and then (version, shape, dtype, fortran order, bytes)
            _, shape, dtype, fortran, data = self.state
        else:  # _frombuffer(bytes, dtype, shape, order), of pickle protocol 5
            data, dtype, shape, order = self.arguments
            fortran = order == "F"
        if not isinstance(dtype, _DType) or dtype.name not in ("u1", "uint8", "B", "|u1"):
            raise ValueError("its array is not of unsigned bytes")
        return np.frombuffer(data, dtype=np.uint8).reshape(shape, order="F" if fortran else "C")


class _DType:
    """Stands for a pickled dtype: keeps its name."""

    def __init__(self, name: Any, *_: Any) -> None:
        self.name = _text(name)

    def __setstate__(self, state: Any) -> None:
        """Byte order and the like: no matter for bytes."""


class _Encoded(bytes):
    """Stands for ``_codecs.encode``, by which Python 3 writes bytes in old protocols."""

    def __new__(cls, text: str, encoding: str = "latin1") -> _Encoded:
        return super().__new__(cls, text.encode("latin-1"))


class _Reader(pickle.Unpickler):
    """Resolves the few globals of an array to stand-ins and refuses every other."""

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in of an allowed global."""
        found = {
            ("multiarray", "_reconstruct"): _Array,
            ("numeric", "_frombuffer"): _Array,
            ("numpy", "ndarray"): "ndarray",
            ("numpy", "dtype"): _DType,
            ("_codecs", "encode"): _Encoded,
        }.get((module.removeprefix("numpy.core.").removeprefix("numpy._core."), name))
        if found is None:
            raise DataError(f"refused the global {module}.{name}; a batch holds only arrays, lists and text")
        return found


def read_batch(path: Path) -> dict[str, Any]:
    """One pickled batch as a dict with text keys; arrays in it are rebuilt from their bytes.

    Raises:
        DataError: missing, damaged, not a dict, or it asks for anything but arrays (named; nothing is run).
        LimitError: larger than `max_array_bytes`.
    """
    data = bounded_bytes(path, "unpack the python version of the set here")
    try:
        check_opcodes(data)
        batch = _Reader(io.BytesIO(data), encoding="bytes").load()
        if not isinstance(batch, dict):
            raise ValueError(f"a {type(batch).__name__}, not a dict")
        return {_text(k): v.uint8() if isinstance(v, _Array) else v for k, v in batch.items()}
    except DataError as error:
        raise DataError(f"{path}: {error}; nothing was executed, fetch it from its source") from None
    except Exception as error:  # a damaged pickle raises nearly anything
        raise DataError(f"{path}: damaged, or not a CIFAR batch ({error}); fetch it again") from None


def cifar_folder(root: Path, layout: Layout) -> Path:
    """Where the batches lie: ``root``, or the archive's own folder in it."""
    return root / layout.folder if (root / layout.folder).is_dir() else root


def cifar_splits(config: ClassificationData) -> Splits:
    """CIFAR-10-LT or CIFAR-100-LT: training long-tailed if ``imbalance`` is set, the test set as it is.

    The sets have no validation split. A class gives validation images that the subset left over if there are
    ``val_per_class`` of them, else some of its training images (always so for class 0, of which the subset
    keeps all); the note says which.

    Raises:
        DataError: a batch is missing, damaged, hostile, or not of the set's shape.
    """
    layout = LAYOUTS[config.kind]
    folder = cifar_folder(config.require_root(), layout)
    classes, notes = _class_names(folder, layout)
    parts = [_pixels(folder / name, layout) for name in layout.train]
    everything = ArrayImages(
        np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts]), classes
    )
    chosen, chosen_note = _chosen(everything, config, layout)
    train, held, held_note = _validation(everything.targets, chosen, config, layout.num_classes)
    kept = everything.subset(train)
    return Splits(
        train=kept,
        val=everything.subset(held),
        test=ArrayImages(*_pixels(folder / layout.test, layout), classes),
        note="; ".join(filter(None, (*notes, chosen_note, held_note, empty_classes_note(kept)))),
    )


def _chosen(
    everything: ArrayImages, config: ClassificationData, layout: Layout
) -> tuple[NDArray[np.int64], str]:
    n_max, note = layout.n_max, ""
    if config.imbalance is not None and config.n_max is None:
        n_max = min(n_max, int(everything.counts().min()))
        if n_max < layout.n_max:
            note = f"n_max is {n_max}, not {layout.n_max}: a class has no more images (a partial copy?)"
    # 0 becomes None: the error then says which class is empty.
    return configured(everything.targets, layout.num_classes, config, n_max or None), note


def _validation(
    targets: NDArray[np.int64], chosen: NDArray[np.int64], config: ClassificationData, num_classes: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], str]:
    per_class, seed = config.val_per_class, config.subset_seed
    if not per_class:
        return chosen, np.empty(0, dtype=np.int64), "validation: none (val_per_class=0)"
    left = np.setdiff1d(np.arange(len(targets)), chosen)
    is_rich = np.bincount(targets[left], minlength=num_classes) >= per_class
    unused = left[take(targets[left], np.where(is_rich, per_class, 0), seed, "validation")]
    rich, poor = chosen[is_rich[targets[chosen]]], chosen[~is_rich[targets[chosen]]]
    stays, used = hold_out(targets[poor], per_class, num_classes, seed)
    note = (
        f"validation: {len(unused)} images that the subset left over ({is_rich.sum()} classes),"
        f" {len(used)} taken out of training ({num_classes - is_rich.sum()} classes that it left too few of)"
    )
    return np.sort(np.concatenate([rich, poor[stays]])), np.sort(np.concatenate([unused, poor[used]])), note


def _pixels(path: Path, layout: Layout) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images (N, 32, 32, 3) and labels of one batch."""
    batch = read_batch(path)
    if missing := [key for key in ("data", layout.labels) if key not in batch]:
        raise DataError(f"{path}: no {missing} in it, only {sorted(batch)}; is it of {layout.folder}?")
    rows, labels = batch["data"], batch[layout.labels]
    if not isinstance(rows, np.ndarray) or rows.ndim != 2 or rows.shape[1] != 3072:
        shape = rows.shape if isinstance(rows, np.ndarray) else type(rows).__name__
        raise DataError(f"{path}: 'data' is {shape}, expected rows of 3072 unsigned bytes; fetch it again")
    top = layout.num_classes - 1
    if not isinstance(labels, list) or not all(type(v) is int and 0 <= v <= top for v in labels):
        raise DataError(f"{path}: {layout.labels!r} is not a list of classes 0..{top}; fetch it again")
    if len(labels) != len(rows):
        raise DataError(f"{path}: {len(rows)} images but {len(labels)} labels; fetch it again")
    images = rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), np.array(labels, dtype=np.int64)


def _class_names(folder: Path, layout: Layout) -> tuple[tuple[str, ...], list[str]]:
    path = folder / layout.meta
    if not path.is_file():
        note = f"no {layout.meta} beside the batches: classes are named by their numbers"
        return tuple(str(i) for i in range(layout.num_classes)), [note]
    names = read_batch(path).get(layout.names)
    if not isinstance(names, list) or len(names) != layout.num_classes:
        raise DataError(f"{path}: no {layout.num_classes} names under {layout.names!r}; fetch it again")
    return tuple(_text(name) for name in names), []


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
