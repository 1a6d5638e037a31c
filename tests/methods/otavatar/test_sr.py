"""Super-resolution on crops: places, margins, the loss against loops, and who learns."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import mien
from mien.cli.main import main
from mien.core.config import OptimConfig
from mien.core.errors import ConfigError
from mien.data.talking_loader import talking_batch
from mien.engine.task import Clock
from mien.methods.otavatar.field import AvatarField
from mien.methods.otavatar.generator import MARGIN, SuperResolution
from mien.methods.otavatar.rays import PARTS, project
from mien.methods.otavatar.sr import CropPlaces, EnlargeTask, crop_of, pick_crops, weighted_edges
from tests.methods.otavatar.tiny import ball_heads, tiny_net


def places(top=(0, 3, 4), left=(2, 0, 4), side=4, whole=8) -> CropPlaces:
    return CropPlaces(torch.tensor(top), torch.tensor(left), side, whole)


def batch(count: int = 4):
    heads = ball_heads()
    who = np.arange(count)
    return talking_batch(heads, heads.windows(4), who, who[:, None] % 4)


def task(**changes: object) -> EnlargeTask:
    sizes = {"sr_side": 16, "sr_channels": (8,), "crop": 12, "samples": 12, "features": 5, "inner_lr": 0.05}
    net = tiny_net(stage="sr", **{**sizes, **changes})
    bank = torch.randn(6, 16, generator=torch.Generator().manual_seed(1))
    return EnlargeTask(net, net.config, OptimConfig(kind="adam", lr=1e-2), bank, 32)


class Context:
    """What the engine gives a task of this kind."""

    def __init__(self, own: EnlargeTask) -> None:
        self.device, self.optimizers = torch.device("cpu"), own.configure()

    def backward(self, loss: torch.Tensor) -> None:
        loss.backward()

    def lr_factor(self) -> float:
        return 1.0


def test_crops_are_cut_where_they_lie() -> None:
    pictures = torch.randn(3, 2, 16, 16)
    own = places()
    found = own.cut(pictures, 2)
    for k, (top, left) in enumerate([(0, 2), (3, 0), (4, 4)]):
        assert torch.equal(found[k], pictures[k, :, 2 * top : 2 * top + 8, 2 * left : 2 * left + 8])
    uv = own.uv()[1].view(4, 4, 2)
    assert uv[0, 0].tolist() == [0.5 / 8, 3.5 / 8]
    assert uv[1, 2].tolist() == [2.5 / 8, 4.5 / 8]


def test_the_picture_s_own_edges_count() -> None:
    inner = places().inner(2, margin=1)[:, 0]
    assert inner[0].tolist() == [[0, 0, 1, 1, 1, 1, 0, 0]] * 6 + [[0] * 8] * 2
    assert inner[2, 2:, 2:].min() == 1  # the lower right corner of the picture
    assert inner[2, :2].max() == inner[2, :, :2].max() == 0


def test_crops_lie_in_the_picture_and_a_share_of_them_around_parts() -> None:
    own, generator = batch(), torch.Generator().manual_seed(0)
    points, cameras = own.points[:, 0].repeat(50, 1, 1), own.cameras[:, 0, 0].repeat(50, 1)
    near = pick_crops(points, cameras, 8, 32, 1.0, generator)
    centres = torch.stack([project(points, cameras[:, None])[:, 0, part].mean(1) for part in PARTS], 1) * 32
    middle = torch.stack([near.left, near.top], 1) + 4
    assert float((centres - middle[:, None]).abs().amax(2).amin(1).max()) <= 0.5
    anywhere = pick_crops(points, cameras, 8, 32, 0.0, generator)
    assert int(anywhere.top.min()) == 0
    assert int(anywhere.top.max()) == 24
    assert anywhere.left.float().std() > 5


@pytest.mark.parametrize(("top", "left"), [(0, 0), (5, 3), (12, 12)])
def test_a_crop_gives_the_crop_of_the_picture_inside_its_margin(top: int, left: int) -> None:
    torch.manual_seed(0)
    net = SuperResolution(5, 16, 24, (8,)).requires_grad_(False)
    features, ws = torch.randn(1, 5, 24, 24), torch.randn(1, 4, 16)
    own = places((top,), (left,), 12, 24)
    whole = own.cut(net(features[:, :3], features, ws), 2)
    part = own.cut(features, 1)
    off = (net.enlarge(part[:, :3], part, ws) - whole).abs() * own.inner(2)
    assert float(off.max()) < 1e-4
    closer = (net.enlarge(part[:, :3], part, ws) - whole).abs() * own.inner(2, MARGIN - 1)
    assert float(closer.max()) > 1e-3  # the margin is no larger than it must be


def test_a_raw_crop_is_the_crop_of_the_raw_picture() -> None:
    own = task()
    net, seen = own.net.eval(), batch(2)
    ws = net.moved(own.bank(seen.person)[:, None], None)
    with torch.no_grad():
        part = crop_of(net, ws, seen.cameras[:, 0, 0], places((1, 4), (4, 0), 12, 16))
        whole = crop_of(net, ws, seen.cameras[:, 0, 0], places((0, 0), (0, 0), 16, 16))
    assert torch.allclose(part, places((1, 4), (4, 0), 12, 16).cut(whole, 1), atol=1e-5)


def test_the_loss_equals_loops() -> None:
    generator = torch.Generator().manual_seed(0)
    off, weight = (torch.rand(2, 3, 4, 4, generator=generator) for _ in range(2))
    weight = weight[:, :1]
    total = 0.0
    for scale in range(2):
        if scale:
            off, weight = (v.view(2, -1, 2, 2, 2, 2).mean((3, 5)) for v in (off, weight))
        side = off.shape[-1]
        for dy, dx in ((0, 0), (0, 1), (1, 0)):
            above = below = 0.0
            for b, y, x in np.ndindex(2, side - dy, side - dx):
                d = off[b, :, y + dy, x + dx] - (off[b, :, y, x] if dy + dx else 0)
                above += float(weight[b, 0, y, x] * d.abs().mean())
                below += float(weight[b, 0, y, x])
            total += above / below
    generator.manual_seed(0)
    off, weight = (torch.rand(2, 3, 4, 4, generator=generator) for _ in range(2))
    assert float(weighted_edges(off, weight[:, :1])) == pytest.approx(total, rel=1e-5)


def test_gradient_reaches_super_resolution_and_the_codes_of_the_step_alone() -> None:
    own = task()
    raw, sharp = own.losses(batch(2), torch.Generator().manual_seed(0))
    sharp.backward()
    learnt = {n for n, p in own.named_parameters() if p.grad is not None}
    assert learnt == {
        n for n, _ in own.named_parameters() if "super_resolution" in n or n.startswith("enlarge")
    }
    assert own.bank.weight.grad is None
    raw.backward()
    assert own.bank.weight.grad.coalesce().indices()[0].tolist() == [0, 1]


def test_it_starts_as_the_plain_enlarged_picture_and_learns_to_be_nearer() -> None:
    own = task()
    before = {k: v.clone() for k, v in own.net.state_dict().items() if "super_resolution" not in k}
    context, losses = Context(own), []
    for step in range(80):
        torch.manual_seed(step)
        losses.append(float(own.update(batch(), Clock(step, 80, 10), context).logs["enlarged"]))
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:10])
    after = own.net.state_dict()
    assert all(torch.equal(v, after[k]) for k, v in before.items())


def test_a_view_of_the_trained_size_goes_through_it() -> None:
    own = task()
    field = AvatarField(
        own.net.generator, own.net.moved(torch.zeros(1, 1, 16), None), own.net.config.settings()
    )
    camera = batch(1).cameras[0, 0, 0]
    with torch.no_grad():
        plain = field.picture(camera, 32)
        own.enlarge.blocks[0].to_rgb.bias.fill_(-0.5)
        darker = field.picture(camera, 32)
    assert plain.shape == (32, 32, 3)
    assert darker.astype(int).mean() < plain.astype(int).mean() - 20


def test_nothing_is_seen_beyond_the_edge_of_an_empty_picture() -> None:
    own, white, ws = task(), torch.ones(1, 5, 16, 16), torch.zeros(1, 6, 16)
    with torch.no_grad():
        assert torch.equal(own.enlarge(white[:, :3], white, ws), torch.ones(1, 3, 32, 32))
        released = SuperResolution(5, 16, 16, (8,))
        torch.nn.init.zeros_(released.blocks[0].to_rgb.weight)
        assert float(released(white[:, :3], white, ws)[0, 0, 0, 9]) == 0.75


def test_another_size_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"to 64 pixels cannot learn from data\.size=32"):
        task(sr_side=32)


def test_the_debug_chain_trains_three_stages_and_resumes_as_if_it_had_not_stopped(tmp_path, capsys) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert main(["train", "otavatar", "--preset", "debug-sr", "--output", str(whole)]) == 0
    earlier = ["--from", f"debug={whole / 'stages' / 'debug'}"]
    assert (
        main(
            ["train", "otavatar", "--preset", "debug-sr", "--output", str(cut), "--max-steps", "2", *earlier]
        )
        == 0
    )
    assert not (cut / "stages").exists()  # nor is what the given one was built on
    assert main(["train", "--resume", str(cut)]) == 0
    nets = [mien.load(str(path)).net for path in (whole, cut)]
    one, two = (n.state_dict() for n in nets)
    assert all(torch.equal(v, two[k]) for k, v in one.items())
    earlier_net = mien.load(str(whole / "stages" / "debug")).net.state_dict()
    assert all(torch.equal(v, one[k]) for k, v in earlier_net.items())
    assert json.loads((whole / "uses.json").read_text()).keys() == {"avatar"}
