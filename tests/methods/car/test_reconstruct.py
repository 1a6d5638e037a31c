"""From photograph to avatar with a field that is known: surfaces, spaces, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from mien.core.errors import ConfigError, DataError, ShapeError
from mien.methods.car.reconstruct import AvatarReconstructor, check_person, skin, star_view, whole
from mien.methods.car.skinning import blended_matrices, transform_points
from mien.methods.car.view import to_view
from mien.render.normal_maps import vertex_normals
from tests.methods.car.capsules import SIZE, case, known_maker, tiny_net
from tests.methods.car.shapes import ellipsoid


@pytest.fixture(scope="module")
def found():
    told = []
    maker = known_maker()
    own = case()
    made = maker.reconstruct(own.image, own.mask, own.body, refine=False, coarse=48, told=told.append)
    return maker, made, told


def test_the_coarse_surface_is_that_of_the_field(found):
    maker, made, _ = found
    cell = 2.4 / 48
    distance = maker.net.field.distance(made.coarse.canonical)
    assert float(distance.abs().mean()) < 0.02 * cell
    assert float(distance.abs().max()) < 0.5 * cell
    assert made.coarse.evaluations > 0


def test_the_octree_gives_the_mesh_of_the_dense_grid():
    maker, own = known_maker(), case()
    maps = maker.normals(own.image, own.mask, own.body)
    few, dense = (maker.surface(maps, own.body, 112, dense=d) for d in (False, True))
    assert torch.equal(few.vertices, dense.vertices)
    assert torch.equal(few.faces, dense.faces)
    assert few.evaluations < dense.evaluations


def test_an_avatar_in_the_pose_of_the_picture_is_the_posed_surface(found):
    _, made, _ = found
    avatar, body = made.avatar, case().body
    assert np.allclose(avatar.repose(body.transforms).vertices, avatar.posed, atol=1e-5)
    assert torch.allclose(avatar.canonical, made.coarse.canonical, atol=1e-4)
    assert torch.equal(avatar.weights, made.coarse.weights)
    assert torch.equal(avatar.transforms, body.transforms)
    assert torch.allclose(avatar.weights.sum(1), torch.ones(len(avatar.weights)), atol=1e-5)


def test_stages_are_told_and_timed(found):
    _, made, told = found
    assert told == ["normals", "coarse surface", "skin and colours"]
    assert list(made.seconds) == told
    assert made.refined is None


def test_faces_look_outward_in_both_spaces(found):
    _, made, _ = found
    normals = vertex_normals(made.coarse.canonical, made.coarse.faces)
    at = made.coarse.canonical
    outward = found[0].net.field.distance(at + 0.02 * normals) > found[0].net.field.distance(
        at - 0.02 * normals
    )
    assert float(outward.float().mean()) > 0.97
    a, b, c = to_view(made.avatar.posed, case().body.calib)[made.avatar.faces.long()].unbind(1)
    assert float((a * torch.linalg.cross(b, c)).sum()) > 0  # six times the volume


@pytest.mark.parametrize(("kind", "iters"), [("sdf", 150), ("mesh", 2)])
def test_refinement_gives_an_avatar_of_the_refined_surface(kind, iters):
    own, maker = case(), known_maker()
    made = maker.reconstruct(own.image, own.mask, own.body, kind=kind, iters=iters, coarse=32, fine=24)
    view = to_view(made.avatar.posed, own.body.calib)
    assert torch.allclose(view, made.refined.vertices, atol=1e-4)
    assert len(made.refined.history["total"]) == iters
    assert np.allclose(made.avatar.repose(own.body.transforms).vertices, made.avatar.posed, atol=1e-3)
    assert "refinement" in made.seconds


def test_normals_are_unit_within_the_mask_and_nothing_outside():
    own = case()
    maps = known_maker().normals(own.image, own.mask, own.body)
    for image in (maps.front, maps.back):
        lengths = image.norm(dim=0)
        assert (lengths[~own.mask] == 0).all()
        inside = lengths[own.mask]
        assert torch.allclose(inside, torch.ones_like(inside), atol=1e-5)
    other = own.image.clone()
    other[:, ~own.mask] = 0.9
    assert torch.equal(known_maker().normals(other, own.mask, own.body).front, maps.front)


def test_two_pictures_do_not_mix():
    """A field that was made first still answers for its own picture."""
    maker = AvatarReconstructor(tiny_net(seed=3), SIZE)
    with torch.no_grad():
        maker.net.field.field.linears[0].weight.normal_()  # features count from the start
    first, second = case(0), case(1)
    maps = [own.true_maps for own in (first, second)]
    x = first.body.vertices[:50]
    alone = maker.field(maps[0], first.body)(x)
    early = maker.field(maps[0], first.body)
    other = maker.field(maps[1], second.body)
    assert not torch.allclose(other(x), alone)
    assert torch.equal(early(x), alone)


def test_a_posed_field_is_asked_in_the_picture():
    """The same net, told that its space is posed: weights of the posed body, points of the picture."""
    maker, own = known_maker(), case()
    maker.net.field.space = "posed"
    maker.net.field.distance = lambda x: (x - own.body.posed().mean(0)).norm(dim=-1) - 0.3
    coarse = maker.coarse(own.true_maps, own.body, 32)
    radius = (coarse.posed - own.body.posed().mean(0)).norm(dim=-1)
    assert torch.allclose(radius, torch.full_like(radius, 0.3), atol=0.01)
    blended = blended_matrices(coarse.weights[None], own.body.transforms[None])[0]
    assert torch.allclose(transform_points(blended, coarse.canonical), coarse.posed, atol=1e-4)


# -- starts -------------------------------------------------------------------------------------------------


def test_starts_of_the_refinement():
    body = case().body
    full, shared = (AvatarReconstructor(tiny_net(factorized=f, rank=2), SIZE) for f in (False, True))
    assert full.start(body, "sphere") is None
    for maker in (full, shared):
        hyper, mean = (maker.start(body, k) for k in ("hyper", "mean"))
        assert any(not torch.equal(hyper[k], mean[k]) for k in hyper)
        assert {k: v.shape for k, v in hyper.items()} == {k: v.shape for k, v in mean.items()}
    twisted = replace(body, transforms=case(1).body.transforms)
    pairs = ((full.start(b, "mean"), full.start(b, "hyper")) for b in (body, twisted))
    (mean, hyper), (other_mean, other_hyper) = pairs
    assert all(torch.equal(mean[k], other_mean[k]) for k in mean)  # knows nothing of the pose
    assert any(not torch.equal(hyper[k], other_hyper[k]) for k in hyper)


def test_the_star_pose_has_the_scale_of_the_picture_however_the_camera_turns():
    body = case().body
    c, s = np.cos(0.7), np.sin(0.7)
    turn = torch.tensor([[c, 0, s, 0], [0, 1, 0, 0], [-s, 0, c, 0], [0, 0, 0, 1]], dtype=torch.float32)
    turned = replace(body, calib=body.calib @ turn)
    assert torch.allclose(star_view(turned), star_view(body), atol=1e-5)
    size = star_view(body).amax(0) - star_view(body).amin(0)
    metres = body.vertices.amax(0) - body.vertices.amin(0)
    assert torch.allclose(size, metres * body.calib[0, 0], atol=1e-5)


# -- what is refused ----------------------------------------------------------------------------------------


def moved_body(x: float):
    """The body so much to the right in the box."""
    calib = case().body.calib.clone()
    calib[0, 3] += x
    return replace(case().body, calib=calib)


def test_persons_that_are_refused():
    own = case()
    full = torch.ones_like(own.mask)
    corner = torch.zeros_like(own.mask)
    corner[:12, :12] = True
    cases = (
        (own.image, ~full, own.body, DataError, "the mask is empty"),
        (own.image, full, own.body, DataError, "the mask is full"),
        (own.image, own.mask, moved_body(1.5), DataError, "of the body lie outside the picture"),
        (own.image, corner, own.body, DataError, "covers the mask by 0"),
        (own.image[:, :32], own.mask, own.body, ShapeError, r"picture \(3, 64, 64\)"),
        (own.image, own.mask.float(), own.body, ShapeError, "booleans"),
    )
    for image, mask, body, error, says in cases:
        with pytest.raises(error, match=says) as found:
            check_person(image, mask, body, SIZE)
        assert "\n" not in str(found.value)
    check_person(own.image, own.mask, own.body, SIZE)


def test_a_surface_in_pieces_is_refused():
    P, F = ellipsoid(2, 0.2)
    shift = torch.tensor([[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [3, 0, 0], [4, 0, 0]])

    def pieces(count):
        faces = torch.cat([F + len(P) * k for k in range(count)])
        return torch.cat([P + d for d in shift[:count]]), faces

    kept, faces = whole(*pieces(3))
    assert (len(kept), len(faces)) == (len(P), len(F))
    with pytest.raises(DataError, match="in pieces: the largest has 20 %"):
        whole(*pieces(5))


def test_a_model_without_a_field_says_so():
    own = case()
    with pytest.raises(ConfigError, match="'sdf' is needed"):
        AvatarReconstructor(tiny_net(stage="normal"), SIZE)(own.image, own.mask, own.body)


def test_skin_of_the_vertices_themselves_is_theirs():
    """Four corners of one joint each, far apart: nothing to smooth within a part."""
    P, F = ellipsoid(1, 0.1)
    points = torch.cat([P, P + 5])
    faces = torch.cat([F, F + len(P)])
    weights = torch.zeros(len(points), 2)
    weights[: len(P), 0] = weights[len(P) :, 1] = 1
    assert torch.allclose(skin(points, faces, points, weights, 4), weights, atol=1e-6)
