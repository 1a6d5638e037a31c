"""Training: what steps see, who is taught, and that it learns, resumes and repeats itself."""

from pathlib import Path

import pytest
import torch

from mien.core.config import Recipe, evolve_all
from mien.core.errors import ConfigError
from mien.engine.task import Clock, Rng
from mien.methods.fm_vit.config import RECIPES
from mien.methods.fm_vit.task import FlexibleTask, build

WHOLE = ("rgb", "depth", "ir")
ALONE = [("rgb",), ("depth",), ("ir",)]


def recipe(**changes: object) -> Recipe:
    return evolve_all(RECIPES["debug"](), {k.replace("__", "."): v for k, v in changes.items()})


def task_of(**changes: object) -> FlexibleTask:
    task = build(recipe(**changes), {}).task
    assert isinstance(task, FlexibleTask)
    return task


def clock(step: int) -> Clock:
    return Clock(step, 10, 5)


@pytest.mark.parametrize(
    ("schedule", "even", "odd"),
    [("full", [WHOLE], [WHOLE]), ("alternate", [WHOLE], ALONE), ("each", [WHOLE, *ALONE], [WHOLE, *ALONE])],
)
def test_what_steps_see(schedule: str, even: list[tuple[str, ...]], odd: list[tuple[str, ...]]) -> None:
    task = task_of(method__subsets=schedule)
    assert task.seen(clock(0), Rng(0)) == even
    assert task.seen(clock(1), Rng(1)) == odd


def test_dropout_never_drops_everything_and_drops_at_its_rate() -> None:
    task = task_of(method__subsets="dropout", method__drop=0.6)
    seen = [task.seen(clock(0), Rng(s))[0] for s in range(2000)]
    assert all(seen)
    share = sum("rgb" in s for s in seen) / 2000
    assert share == pytest.approx(0.4 + 0.6**3 / 3, abs=0.04)  # one of the three is put back
    assert task.seen(clock(0), Rng(5)) == task.seen(clock(7), Rng(5))


def test_branches_absent_from_a_step_get_no_gradient() -> None:
    task = task_of(method__subsets="full")
    batch = next(build(recipe(), {}).source.stream(0, 0, 1))[0]
    out = task.model({"rgb": batch.images["rgb"]})
    out["fused"].sum().backward()
    touched = {n for n, p in task.model.named_parameters() if p.grad is not None}
    assert any("embed.rgb" in n for n in touched)
    assert not any("embed.depth" in n or "embed.ir" in n for n in touched)


@pytest.mark.parametrize("source", ["others", "depth", "ir", "fused"])
def test_peers_change_the_loss_of_the_pupil_only_in_its_steps(source: str) -> None:
    schedule = "each" if source == "fused" else "alternate"
    task = task_of(method__peer=1.0, method__peer_from=source, method__subsets=schedule)
    stream = build(recipe(), {}).source.stream(0, 0, 1)
    batch = next(stream)[0]
    joint, alone = (task.loss(batch, clock(s), Rng(0)) for s in (0, 1))
    assert float(alone.logs["peer"]) > 0
    assert (float(joint.logs["peer"]) > 0) == (schedule == "each")


def test_fused_peers_need_steps_with_both() -> None:
    task = task_of(method__peer=1.0, method__peer_from="fused", method__subsets="alternate")
    batch = next(build(recipe(), {}).source.stream(0, 0, 1))[0]
    with pytest.raises(ConfigError, match="subsets='each'"):
        task.loss(batch, clock(1), Rng(0))


def test_the_loss_is_repeatable_and_adds_up() -> None:
    plain, whole = (
        task_of(),
        task_of(method__agree=0.1, method__fused=1.0, method__aux_targets=("depth", "ir")),
    )
    whole.model.load_state_dict(plain.model.state_dict(), strict=False)
    batch = next(build(recipe(), {}).source.stream(0, 0, 1))[0]
    first = plain.loss(batch, clock(0), Rng(0)).loss
    assert torch.equal(first, plain.loss(batch, clock(0), Rng(0)).loss)
    assert float(whole.loss(batch, clock(0), Rng(0)).loss.detach()) > float(first.detach())


def test_a_lone_pupil_foretells_depth_and_infrared() -> None:
    task = task_of(method__aux_targets=("depth", "ir"))
    batch = next(build(recipe(), {}).source.stream(0, 0, 1))[0]
    assert float(task.loss(batch, clock(1), Rng(0)).logs["aux"]) > 0


@pytest.mark.parametrize("net", ["mavit", "early", "late", "cross", "halfway"])
def test_every_net_trains(net: str, tmp_path: Path) -> None:
    from mien.core.catalogue import method
    from mien.engine.stages import train_recipe

    plain = {f"method__{k}": None for k in ("stages", "rho", "subsets")}
    scores = train_recipe(method("fm_vit"), recipe(**plain, method__net=net, schedule__steps=2), tmp_path)
    assert set(scores) == {"auc_rgb+depth+ir", "auc_rgb", "auc_depth", "auc_ir"}


def test_data_without_a_modality_is_refused_by_name() -> None:
    from mien.data.pad_images import PadArrays
    from mien.data.pads import read_pad
    from mien.methods.fm_vit.task import configs

    whole = read_pad(configs(recipe())[1])
    blind = PadArrays({"rgb": whole.train.images["rgb"]}, whole.train.labels)  # type: ignore[attr-defined]
    from dataclasses import replace

    with pytest.raises(ConfigError, match=r"no depth pictures \(it has rgb\)"):
        build(recipe(), {}, replace(whole, train=blind))
    with pytest.raises(ConfigError, match="set --modalities rgb --net single"):
        build(recipe(), {}, replace(whole, dev=blind))


def test_images_must_be_whole_patches() -> None:
    with pytest.raises(ConfigError, match=r"not a multiple of method\.patch"):
        build(recipe(method__patch=5), {})
