from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3k_ros.perception.regions import Region


def ramp(width: int, height: int) -> np.ndarray:
    """An image whose channels are the pixel's u, v and their sum, halved to stay in range."""
    v, u = np.mgrid[0:height, 0:width]
    return np.stack([u, v, (u + v) // 2], axis=-1).astype(np.uint8)


@pytest.mark.parametrize("size", [(60, 80), (48, 48), (201, 307)])
def test_resized_region_shows_what_the_mapping_says(size: tuple[int, int]) -> None:
    region = Region(20, 10, 120, 90)
    resized = region.cut(ramp(200, 160), size).astype(float)
    v, u = np.mgrid[0 : size[0], 0 : size[1]]
    expected = region.to_image(np.stack([u, v], axis=-1).astype(float), size)
    inner = (slice(4, -4), slice(4, -4))
    error = (resized[..., :2] - expected)[inner]
    # Grey levels are integers, and OpenCV's fixed-point interpolation loses 1/8 of one.
    assert np.abs(error).max() < 0.8
    assert np.abs(error.mean(axis=(0, 1))).max() < 0.15


@given(
    st.integers(-50, 300), st.integers(-50, 300), st.integers(1, 400), st.integers(1, 400),
    st.floats(-10.0, 600.0), st.floats(-10.0, 600.0),
)  # fmt: skip
def test_cells_and_pixels_map_back_and_forth(
    x: int, y: int, width: int, height: int, u: float, v: float
) -> None:
    region = Region(x, y, width, height)
    pixels = np.array([u, v])
    back = region.to_image(region.to_cells(pixels, (64, 48)), (64, 48))
    assert np.allclose(back, pixels, atol=1e-9)


def test_cell_of_a_strided_heatmap_is_the_middle_of_its_input_pixels() -> None:
    # Cell j at stride 4 stands for input pixel 4 j + 3/2; the input is the region at half size.
    region = Region(100, 50, 128, 128)
    pixel = region.to_image(np.array([3.0, 0.0]), (16, 16))
    resized = np.array([4 * 3 + 1.5, 1.5])
    assert np.allclose(pixel, (resized + 0.5) * 2.0 - 0.5 + [100, 50])


@given(
    st.floats(-100.0, 800.0), st.floats(-100.0, 600.0), st.integers(20, 480),
    st.just((640, 480)),
)  # fmt: skip
def test_square_that_fits_lies_inside_the_image(
    u: float, v: float, side: int, size: tuple[int, int]
) -> None:
    region = Region.square((u, v), side, *size)
    assert region.width == region.height == side
    assert region.x >= 0
    assert region.y >= 0
    assert region.x + side <= size[0]
    assert region.y + side <= size[1]
    if side / 2 <= u < size[0] - side / 2 and side / 2 <= v < size[1] - side / 2:
        middle = np.array([region.x, region.y]) + (side - 1) / 2
        assert np.abs(middle - [u, v]).max() <= 0.5


def test_square_larger_than_the_image_repeats_the_border() -> None:
    image = ramp(100, 60)
    region = Region.square((20.0, 30.0), 80, 100, 60)
    assert (region.y, region.height) == (-10, 80)
    resized = region.cut(image, (80, 80))
    assert (resized[:10] == resized[10]).all()
    assert (resized[-10:] == resized[-11]).all()
    assert np.array_equal(resized[10:70], image[:, region.x : region.x + 80])
