"""The views whose predictions are averaged."""

from __future__ import annotations

import pytest
import torch

from galaxy.images.views import check_views, views


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("count", [1, 4, 8, 24, 30, 60])
def test_the_first_view_is_the_image_and_no_two_are_alike(images: torch.Tensor, count: int) -> None:
    check_views(count)
    seen = list(views(images, count))
    assert len(seen) == count
    assert seen[0] is images
    assert all(view.shape == images.shape for view in seen)
    assert (
        len({view.double().sum(dim=1).flatten().dot(torch.arange(512.0).double()).item() for view in seen})
        == count
    )


def test_four_angles_hold_the_eight_views_without_a_zoom(images: torch.Tensor) -> None:
    eight, many = list(views(images, 8)), list(views(images, 24))
    for view in eight:
        assert min((view - other).abs().max() for other in many) < 1e-5


def test_angles_are_a_full_turn_and_zooms_magnify() -> None:
    side = 33
    x = torch.arange(side) - side // 2
    spot = torch.exp(-((x[None, :] - 8.0) ** 2 + x[:, None] ** 2) / 8)[None, None]  # right of the centre
    places = []
    for view in views(spot, 60):
        share = view[0, 0] / view.sum()
        places.append(((share.sum(0) * x).sum().item(), (share.sum(1) * x).sum().item()))
    points = torch.tensor(places).view(3, 2, 10, 2)  # zooms, mirrored or not, angles
    radius = points.square().sum(-1).sqrt()
    torch.testing.assert_close(radius[0], torch.full((2, 10), 8.0), atol=0.05, rtol=0)
    torch.testing.assert_close(radius[1] / radius[0], torch.full((2, 10), 1.2), atol=0.02, rtol=0)
    torch.testing.assert_close(radius[2] / radius[0], torch.full((2, 10), 1 / 1.2), atol=0.02, rtol=0)
    angles = torch.atan2(points[..., 1], points[..., 0]).rad2deg().round().remainder(360)
    assert sorted(angles[0, 0].tolist()) == list(range(0, 360, 36))
    assert sorted(angles[0, 1].tolist()) == list(range(0, 360, 36))


def test_beyond_the_edge_lies_the_same_sky() -> None:
    sky = torch.full((1, 1, 12, 12), 0.25)
    for view in views(sky, 60):
        torch.testing.assert_close(view, sky)


@pytest.mark.parametrize(
    ("count", "near"),
    [
        (0, "1"),
        (2, "1 or 4"),
        (-3, "1"),
        (12, "8 or 24"),
        (16, "8 or 24"),
        (25, "24 or 30"),
        (50, "48 or 54"),
    ],
)
def test_other_numbers_are_refused_with_the_nearest(count: int, near: str) -> None:
    with pytest.raises(ValueError, match=rf"^tta is {count}; it must be .* such as {near}$"):
        check_views(count)
