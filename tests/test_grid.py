"""Token grid and pixel square agree."""

from __future__ import annotations

import pytest
import torch

from s3pot.grid import Grid

GRIDS = [Grid(1024, 64), Grid(256, 32), Grid(64, 8), Grid(15, 3), Grid(4, 4)]


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_centers_and_corners_equal_a_loop(grid: Grid) -> None:
    index = torch.arange(grid.side**2)
    patch = grid.size // grid.side
    corners = [(x * patch, y * patch) for y in range(grid.side) for x in range(grid.side)]
    half = patch // 2
    assert grid.patch == patch
    assert grid.corners(index).tolist() == [[float(x), float(y)] for x, y in corners]
    assert grid.centers(index).tolist() == [[float(x + half), float(y + half)] for x, y in corners]
    assert grid.centers(index).dtype == torch.float32


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_every_pixel_of_a_cell_leads_back_to_it(grid: Grid) -> None:
    index = torch.randperm(grid.side**2, generator=torch.Generator().manual_seed(0))
    last = grid.corners(index) + grid.patch - 1
    for points in (grid.corners(index), grid.centers(index), last):
        assert grid.cells(points).equal(index)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_on_grid_reads_the_pixels_at_the_centers(grid: Grid) -> None:
    mask = torch.rand(2, grid.size, grid.size, generator=torch.Generator().manual_seed(1))
    x, y = grid.centers(torch.arange(grid.side**2)).long().unbind(1)
    assert grid.on_grid(mask).flatten(1).equal(mask[:, y, x])
    assert grid.on_grid(mask > 0.5).dtype == torch.bool


def test_no_index_is_no_point() -> None:
    grid = Grid(64, 8)
    assert grid.centers(torch.zeros(0, dtype=torch.int64)).shape == (0, 2)
    assert grid.cells(torch.zeros(0, 2)).shape == (0,)


def test_a_grid_must_divide_its_square() -> None:
    with pytest.raises(ValueError, match="SAM input 100 is not a multiple of its token grid 64"):
        Grid(100, 64)
