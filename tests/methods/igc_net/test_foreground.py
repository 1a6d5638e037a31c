"""Faces before backgrounds, found by the colours of the border."""

import torch

from mien.methods.igc_net.foreground import border_plane, border_ring, foreground_guess, scene_behind

SIZE = 32


def slope(batch=2):
    """Colours that run evenly over the picture."""
    at = torch.linspace(-1, 1, SIZE)
    ground = 0.4 + 0.1 * at[None, :] + 0.15 * at[:, None]
    return torch.stack([ground, ground.mT, ground.flip(1)])[None].expand(batch, -1, -1, -1).clone()


def disc(radius=0.6):
    at = torch.linspace(-1, 1, SIZE)
    return (at[None] ** 2 + at[:, None] ** 2) < radius**2


def with_shoulders():
    """A disc on a block that leaves through the lower border, and hair that touches the upper."""
    face = disc()
    face[3 * SIZE // 4 :, 3:-3] = True
    face[:8, 12:20] = True
    return face


def test_the_ring_leaves_the_lower_border_out():
    ring = border_ring(SIZE, SIZE)
    assert bool(ring[:2].all())
    assert not bool(ring[-8:].any())
    assert int(ring.sum()) == 2 * SIZE + 4 * (24 - 2)


def test_a_plane_is_found_beside_what_touches_the_border():
    image = slope()
    shown = torch.where(with_shoulders(), torch.tensor([0.9, 0.1, 0.1]).view(3, 1, 1), image)
    assert torch.allclose(border_plane(shown), image, atol=0.02)
    assert torch.allclose(border_plane(image), image, atol=1e-3)


def test_the_guess_is_the_face():
    face = with_shoulders()
    shown = torch.where(face, torch.tensor([0.9, 0.1, 0.1]).view(3, 1, 1), slope())
    found = foreground_guess(shown) > 0.5
    assert ((found & face).sum((1, 2)) / (found | face).sum((1, 2)) > 0.95).all()
    assert not foreground_guess(slope()).any()


def test_what_a_face_hides_is_filled_from_around():
    image, face = slope(), disc()
    shown = torch.where(face, 0.0, image)
    guess = face.float().expand(2, -1, -1)
    behind = scene_behind(shown, guess)
    assert torch.allclose(behind[:, :, ~face], image[:, :, ~face])
    assert (behind - image).abs().mean() < 0.03
    assert torch.equal(scene_behind(image, torch.zeros(2, SIZE, SIZE)), image)
    assert torch.allclose(scene_behind(image, torch.ones(2, SIZE, SIZE)), image.mean((2, 3), keepdim=True))
