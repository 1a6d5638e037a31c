"""Super-resolution: starts as bicubic, learns, and finds out which pictures are small."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mien.core.errors import ConfigError, ShapeError
from mien.methods.cqil import SuperResolver
from mien.methods.cqil.superres import bicubic, halvings, resolution_loss, shrink


def noise(n: int = 2, size: int = 16, seed: int = 0) -> Tensor:
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("scale", [2, 3])
def test_it_starts_as_bicubic_to_the_bit(scale: int) -> None:
    x = noise()
    net = SuperResolver(8, 2, scale)
    side = 16 * scale
    assert torch.equal(net(x), F.interpolate(x, (side, side), mode="bicubic", align_corners=False))


def test_a_zeroed_tail_is_bicubic_whatever_the_rest() -> None:
    net = SuperResolver(8, 2)
    torch.nn.init.normal_(net.tail.weight)
    assert not torch.equal(net(noise()), bicubic(noise(), 2))
    torch.nn.init.zeros_(net.tail.weight)
    assert torch.equal(net(noise()), bicubic(noise(), 2))


def test_shrink_is_the_mean_of_blocks() -> None:
    """The box filter of the method's page."""
    y, x = np.mgrid[0:16, 0:16]
    image = torch.from_numpy(((3 * x + 5 * y) % 11) / 10)[None, None]
    small = shrink(image, 4)
    assert float(small[0, 0, 0, 0]) == pytest.approx(0.5125)
    again = small.repeat_interleave(4, 2).repeat_interleave(4, 3)
    assert float(again[0, 0, 5, 9]) == pytest.approx(0.5125)
    assert float(F.mse_loss(again, image)) == pytest.approx(0.0998340, abs=1e-7)


def test_enlarge_goes_on_until_the_side_or_four_times() -> None:
    net = SuperResolver(4, 1)
    assert net.enlarge(noise(1, 12), 112).shape[-1] == 48
    assert net.enlarge(noise(1, 12), 20).shape[-1] == 24
    assert net.enlarge(noise(1, 24), 24).shape[-1] == 24
    assert net.enlarge(noise(1, 12), 112, most=2).shape[-1] == 24


def test_it_learns_what_bicubic_cannot() -> None:
    torch.manual_seed(0)
    net, size = SuperResolver(8, 1), 32
    columns = (torch.arange(size) // 4 % 2).float()
    x = columns.expand(4, 3, size, size).clone() * torch.rand(4, 1, 1, 1)
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    before = resolution_loss(net, x).item()
    for _ in range(60):
        optimizer.zero_grad()
        loss = resolution_loss(net, x)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.5 * before


def natural(n: int, size: int) -> Tensor:
    """Pictures whose spectrum falls as 1 / f, as photographs' does."""
    f = np.hypot(*np.meshgrid(np.fft.fftfreq(size), np.fft.fftfreq(size))) + 1 / size
    rng = np.random.default_rng(0)
    planes = np.fft.ifft2(np.fft.fft2(rng.normal(0, 1, (n, 3, size, size))) / f).real
    return torch.from_numpy(0.5 + 0.15 * planes / planes.std((2, 3), keepdims=True)).float().clamp(0, 1)


def test_pictures_that_were_small_are_found() -> None:
    full = natural(3, 48)
    half, quarter = (F.interpolate(shrink(full, k), (48, 48), mode="bicubic").clamp(0, 1) for k in (2, 4))
    assert halvings(full).tolist() == [0, 0, 0]
    assert halvings(half, flat=0.15).tolist() == [1, 1, 1]
    assert halvings(quarter, flat=0.25).tolist() == [2, 2, 2]
    assert halvings(torch.full((1, 3, 48, 48), 0.3)).tolist() in ([0], [2])


def test_errors() -> None:
    with pytest.raises(ConfigError, match="scale 1: at least 2"):
        SuperResolver(scale=1)
    with pytest.raises(ShapeError, match=r"expected pictures \(B, 3, h, w\)"):
        SuperResolver(4, 1)(torch.zeros(3, 8, 8))
