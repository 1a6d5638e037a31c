"""Edits: nothing changes where nothing is edited, and what changes is what was asked for."""

import math

import pytest
import torch

from mien.core.errors import ConfigError, ShapeError
from mien.methods.igc_net.capsules import Light
from mien.methods.igc_net.edits import (
    ablate,
    assembly_of,
    facing,
    light_from,
    mean_parts,
    one_of,
    reassembled,
    relight,
    rotate,
    swap_part,
)
from tests.methods.igc_net.faces import some_images, tiny_net


@pytest.fixture(scope="module")
def net():
    return tiny_net()


@pytest.fixture(scope="module")
def obj(net):
    return net.encode(some_images())


def test_the_own_parts_make_the_own_object(net, obj):
    again = reassembled(obj, obj.parts, assembly_of(net))
    for name in ("depth", "albedo", "normal", "visibility"):
        assert torch.equal(getattr(again, name), getattr(obj, name)), name


def test_a_swap_moves_one_part_and_keeps_view_and_light(net, obj):
    other = net.encode(some_images().flip(0))
    found = swap_part(obj, other, 1, assembly_of(net))
    assert torch.equal(found.parts[1].depth, other.parts[1].depth)
    assert torch.equal(found.parts[0].albedo, obj.parts[0].albedo)
    assert torch.equal(found.view, obj.view)
    assert found.light is obj.light
    back = swap_part(found, obj, 1, assembly_of(net))
    assert torch.equal(back.depth, obj.depth)
    one = swap_part(obj, one_of(other, 0), 1, assembly_of(net))
    assert torch.equal(one.parts[1].albedo[2], other.parts[1].albedo[0])


def test_swaps_that_do_not_fit(net, obj):
    with pytest.raises(ConfigError, match=r"no part 3; there are 0 \.\. 2"):
        swap_part(obj, obj, 3)
    other = tiny_net(method__parts=2).encode(some_images())
    with pytest.raises(ShapeError, match="objects of 3 and 2 parts, 32 and 32 pixels"):
        swap_part(obj, other, 0)
    with pytest.raises(ShapeError, match="parts of 2 objects do not fit 4"):
        swap_part(obj, net.encode(some_images(2)), 0)


def test_turning_adds_to_the_yaw_alone(obj):
    found = rotate(obj, 0.3)
    assert torch.allclose(found.view - obj.view, torch.tensor([0, 0.3, 0, 0, 0, 0]), atol=1e-6)
    assert facing(obj, 0.2).view[0].tolist() == pytest.approx([0, 0.2, 0, 0, 0, 0])


def test_light_from_the_right_lights_the_right_side(net, obj):
    light = light_from(obj, math.radians(45))
    assert light.direction[0].tolist() == pytest.approx([-(0.5**0.5), 0, 0.5**0.5], abs=1e-6)
    one = torch.ones(4)
    wall = Light(one, 0 * one, light.direction)
    flat = net.render(relight(obj, wall)).face  # ambient alone: the albedo
    lit = net.render(relight(obj._replace(albedo=torch.ones_like(obj.albedo)), light))
    right, left = lit.face[..., 12:20, 20:26].mean(), lit.face[..., 12:20, 6:12].mean()
    assert flat.shape == lit.face.shape
    assert right > left


def test_ablation_by_hand(net, obj):
    mean = mean_parts(obj)
    assert torch.allclose(mean[0].depth[0], obj.parts[0].depth.mean(0))
    shape = ablate(obj, "shape", [0, 2], mean, assembly_of(net))
    assert torch.equal(shape.parts[2].presence[3], mean[2].presence[0])
    assert torch.equal(shape.parts[0].albedo, obj.parts[0].albedo)
    assert torch.equal(shape.parts[1].depth, obj.parts[1].depth)
    albedo = ablate(obj, "albedo", [1], mean, assembly_of(net))
    assert torch.equal(albedo.depth, obj.depth)
    assert not torch.equal(albedo.albedo, obj.albedo)
    nothing = ablate(obj, "shape", [], mean, assembly_of(net))
    assert torch.equal(nothing.albedo, obj.albedo)
    with pytest.raises(ConfigError, match="no level 'colour'; one of shape, albedo"):
        ablate(obj, "colour", [0], mean)


def test_one_of_a_batch(net, obj):
    own = one_of(obj, 2)
    assert torch.equal(own.depth[0], obj.depth[2])
    assert torch.equal(own.light.direction[0], obj.light.direction[2])
    whole, alone = net.render(obj).image, net.render(own._replace(confidence=None)).image
    assert torch.allclose(alone[0], whole[2], atol=1e-5)
