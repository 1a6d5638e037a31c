"""Whom a recogniser errs on: missed and false matches by group of people, at one threshold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.core.errors import ShapeError
from mien.core.seeds import derive


class GroupErrors(NamedTuple):
    """Errors among the people of one group.

    Attributes:
        group: its name.
        people: in it.
        genuine: pairs of two pictures of one person.
        missed: share of those below the threshold (FNMR); NaN without any.
        impostor: pairs of two people of the group.
        false: share of those not below it (FMR); NaN without any.
    """

    group: str
    people: int
    genuine: int
    missed: float
    impostor: int
    false: float


def errors_by_group(
    features: ArrayLike, people: ArrayLike, groups: ArrayLike, threshold: float
) -> list[GroupErrors]:
    """FNMR and FMR of all pairs within each group, in order of its name. O(n^2 D).

    False matches are counted within a group, where they are likeliest; between groups they are rarer.

    Args:
        features: (N, D) embeddings, of any length.
        people: (N,) who is in each picture.
        groups: (N,) the group of that person.
        threshold: cosine from which two pictures count as one person.

    Raises:
        ShapeError: lengths that differ, or a person in two groups.
    """
    e, who, group = np.asarray(features, np.float64), np.asarray(people), np.asarray(groups)
    if e.ndim != 2 or who.shape != e.shape[:1] or group.shape != who.shape:
        raise ShapeError(
            f"features {e.shape}, people {who.shape}, groups {group.shape}: expected (N, D), (N,), (N,)"
        )
    if len(np.unique(np.stack([who.astype(str), group.astype(str)]), axis=1).T) != len(np.unique(who)):
        raise ShapeError("a person is in more than one group")
    e /= np.linalg.norm(e, axis=1, keepdims=True)
    return [_errors(str(name), e[group == name], who[group == name], threshold) for name in np.unique(group)]


def _errors(name: str, e: NDArray[np.float64], who: NDArray[Any], threshold: float) -> GroupErrors:
    first, second = np.triu_indices(len(e), 1)
    accepted, same = (e @ e.T)[first, second] >= threshold, who[first] == who[second]
    genuine, impostor = int(same.sum()), int((~same).sum())
    return GroupErrors(
        name,
        len(np.unique(who)),
        genuine,
        float((~accepted)[same].mean()) if genuine else float("nan"),
        impostor,
        float(accepted[~same].mean()) if impostor else float("nan"),
    )


def made_groups(set_seed: int, first: int, people: int) -> Mapping[str, NDArray[np.str_]]:
    """`groups_of_seeds` of people who follow each other in a made set.

    Args:
        set_seed: of the made set.
        first: number of the first person.
        people: how many.
    """
    return groups_of_seeds([derive(set_seed, "identity", first + number) for number in range(people)])


def groups_of_seeds(seeds: Sequence[int]) -> Mapping[str, NDArray[np.str_]]:
    """Sex, skin and age of made people, as groups: name -> (people,).

    Skin by melanin (0.08 very light to 2.6 very dark), age by the scale of the human model (0.5 is 25 years).

    Args:
        seeds: of `mien.synth.portraits.make_face`.
    """
    from mien.synth.body import people as human
    from mien.synth.identity import sample_identity
    from mien.synth.looks import sample_looks

    shapes, rows = frozenset(human().shapes), []
    for who in seeds:
        macro = sample_identity(who, shapes).macro
        melanin = sample_looks(who, macro).skin.melanin
        skin = "light" if melanin < 0.45 else "medium" if melanin < 0.95 else "dark"
        rows.append(("men" if macro.male > 0.5 else "women", skin, "older" if macro.age > 0.6 else "younger"))
    sex, skins, ages = zip(*rows, strict=True)
    return {"sex": np.array(sex), "skin": np.array(skins), "age": np.array(ages)}
