"""Decoupling by inverting: who learns, from what, and what stays as it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from mien.core.config import OptimConfig
from mien.data.talking_loader import talking_batch
from mien.engine.task import Clock
from mien.methods.otavatar.dbi import MotionTask, SaidMotion, _turn
from tests.methods.otavatar.tiny import ball_heads, tiny_config, tiny_net

OPTIM = OptimConfig(kind="adamw", lr=0.01, weight_decay=0.01)


class Context:
    """What the engine gives a task that owns its optimisers."""

    device = torch.device("cpu")

    def __init__(self, task: MotionTask) -> None:
        self.optimizers = task.configure()

    def backward(self, loss: torch.Tensor) -> None:
        loss.backward()

    def lr_factor(self) -> float:
        return 1.0


def batch():
    heads = ball_heads()
    return talking_batch(heads, heads.windows(4), np.arange(3), np.array([[0, 1], [2, 3], [1, 2]]))


def task_of(codes: torch.Tensor | None = None, **changes: object) -> MotionTask:
    net = tiny_net(stage="controller", **{"inner_steps": 3, "controller_steps": 1, **changes})
    return MotionTask(net, net.config, OPTIM, codes, 4)


def stepped(task: MotionTask, times: int = 1):
    """State before and after some updates, and the last output."""
    before = {k: v.clone() for k, v in task.state_dict().items()}
    context = Context(task)
    for k in range(times):
        torch.manual_seed(k)
        out = task.update(batch(), Clock(k, 10, 10), context)
    return before, task.state_dict(), out


@pytest.mark.parametrize("inner", ["successively", "alternatively", "together"])
def test_only_the_controller_learns(inner: str) -> None:
    before, after, out = stepped(task_of(inner=inner))
    changed = {k for k in before if not torch.equal(before[k], after[k])}
    assert changed
    assert all(k.startswith("net.controller.") for k in changed)
    assert torch.isfinite(out.loss)


def test_turns_of_the_inner_loop() -> None:
    assert [_turn("successively", k, 12, 3, naive=False) for k in (8, 9)] == ["codes", "controller"]
    assert [_turn("alternatively", k, 12, 3, naive=False) for k in (8, 9, 10)] == [
        "codes",
        "controller",
        "codes",
    ]
    assert {_turn("together", k, 12, 3, naive=False) for k in range(12)} == {"both"}
    assert {_turn("successively", k, 12, 3, naive=True) for k in range(12)} == {"codes"}


def test_kept_codes_of_the_step_move_and_others_do_not() -> None:
    start = torch.zeros(6, 16)
    before, after, _ = stepped(task_of(start, bank=True))
    moved = (after["bank.weight"] - before["bank.weight"]).norm(dim=1) > 0
    assert moved.tolist() == [True, True, True, False, False, False]


def test_naive_keeps_a_code_for_each_moment_and_moves_the_first_only() -> None:
    before, after, _ = stepped(task_of(torch.zeros(24, 16), bank=True, mode="naive"))
    moved = (after["bank.weight"] - before["bank.weight"]).norm(dim=1) > 0
    assert moved.nonzero()[:, 0].tolist() == [0, 4 + 2, 8 + 1]
    assert any(not torch.equal(before[k], after[k]) for k in before if k.startswith("net.controller."))


def test_updates_repeat_bit_for_bit() -> None:
    (_, one, _), (_, two, _) = (stepped(task_of(torch.zeros(6, 16), bank=True), 2) for _ in range(2))
    assert all(torch.equal(one[k], two[k]) for k in one)


def test_held_pose_rows_are_the_first_frame_s() -> None:
    task = task_of(pose_rows=1, pose_dropout=1.0)
    b = batch()
    windows = task._windows(b, torch.Generator().manual_seed(0))
    assert torch.equal(windows[:, :, :2], b.windows[:, :, :2])
    middle = b.windows[:, :1, 2:, 4:5]
    assert torch.equal(windows[:, :, 2:], middle.expand_as(windows[:, :, 2:]))
    assert torch.equal(task_of(pose_rows=1)._windows(b, torch.Generator()), b.windows)


def test_learning_lowers_the_error_of_moving_balls() -> None:
    task = task_of(torch.zeros(6, 16), bank=True)
    context, losses = Context(task), []
    for k in range(40):
        torch.manual_seed(k)
        losses.append(float(task.update(batch(), Clock(k, 40, 10), context).loss))
    assert np.mean(losses[-8:]) < np.mean(losses[:8])


def test_of_one_frame_only_that_frame_teaches_the_code() -> None:
    """With frames=1 the code's gradient is that of the first frame alone, the controller's that of both."""
    task, b = task_of(frames=1), batch()
    w = torch.zeros(3, 1, 16, requires_grad=True)
    grads = []
    for frames in (1, 2):
        own = MotionTask(task.net, tiny_config(stage="controller", frames=frames), OPTIM)
        loss, _ = own._losses(w, b, torch.Generator().manual_seed(0))
        grads.append(torch.autograd.grad(loss, [w, task.net.controller.last.bias]))
    assert float((grads[0][0] - grads[1][0]).abs().max()) > 0
    assert torch.allclose(grads[0][1], grads[1][1], atol=1e-7)


def test_landmarks_teach_the_controller_where_planes_follow_them() -> None:
    """One direction of the codes lets landmarks fall, and the true ones fall with the first action."""
    missed = {}
    for weight in (0.0, 10.0):
        task = task_of(torch.zeros(6, 16), bank=True, warped=True, align=weight)
        warp, seen = task.net.generator.warp, batch()
        assert warp is not None
        with torch.no_grad():
            warp.places.weight[1::3] = 20 * task.net.controller.code_book.basis()[:, 0]
            warp.mean.copy_(seen.points.mean((0, 1)))
        points = seen.points.clone()
        points[..., 1] -= 0.1 * seen.windows[..., :1, seen.windows.shape[-1] // 2]
        context = Context(task)
        for k in range(40):
            torch.manual_seed(k)
            out = task.update(replace(seen, points=points), Clock(k, 40, 40), context)
        missed[weight] = float(out.logs["align"])
    assert missed[10.0] < 0.8 * missed[0.0]


def test_the_controller_learns_to_say_what_is_read() -> None:
    """Codes that move with the motion, each person around a code of their own: the motion alone is learnt."""
    torch.manual_seed(0)
    windows = torch.rand(8, 5, 3, 1).expand(-1, -1, -1, 9)
    moves = windows[..., 4] @ torch.randn(3, 16)
    said = SaidMotion(torch.randn(8, 1, 16) + moves, windows)
    net, again = (tiny_net(stage="controller") for _ in range(2))
    people = torch.arange(8)
    first = said.missed(net, people)
    said.teach(net, 800, seed=1)
    assert said.missed(net, people) < 0.2 * first
    said.teach(again, 800, seed=1)
    assert torch.equal(said.missed(net, people), said.missed(again, people))


def test_what_is_missed_is_written_out() -> None:
    net = tiny_net(stage="controller")
    torch.manual_seed(1)
    said = SaidMotion(torch.randn(4, 3, 16), torch.rand(4, 3, 3, 9))
    total = []
    for p in (2, 0):
        dw = [net.controller(said.windows[p, m][None])[0][0].mean(0) for m in range(3)]
        for m in range(3):
            odd = (dw[m] - sum(dw) / 3) - (said.codes[p, m] - said.codes[p].mean(0))
            total.append((odd / net.w_std.clamp(min=1e-6)).square().mean())
    torch.testing.assert_close(said.missed(net, torch.tensor([2, 0])), sum(total) / 6)


def test_following_teaches_beside_the_pictures() -> None:
    torch.manual_seed(2)
    said = SaidMotion(torch.randn(6, 4, 16), torch.rand(6, 4, 3, 9))
    net = tiny_net(stage="controller", follow=1.0)
    _, after, out = stepped(MotionTask(net, net.config, OPTIM, torch.zeros(6, 16), 4, said))
    assert out.logs["follow"] > 0
    _, plain, _ = stepped(task_of(torch.zeros(6, 16)))
    assert any(not torch.equal(after[k], plain[k]) for k in plain if k.startswith("net.controller."))
