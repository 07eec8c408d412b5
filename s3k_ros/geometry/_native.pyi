import numpy as np
from numpy.typing import NDArray

def triangulate(
    cameras: NDArray[np.float64],
    pixels: NDArray[np.float64],
    covariances: NDArray[np.float64],
    weights: NDArray[np.float64],
    min_sine_squared: float,
    most_chi_square: NDArray[np.float64],
    most_distance: NDArray[np.float64],
    points: NDArray[np.float64],
    point_covariances: NDArray[np.float64],
    residuals: NDArray[np.float64],
    distances: NDArray[np.float64],
    chi_square: NDArray[np.float64],
    root_mean_square: NDArray[np.float64],
    used: NDArray[np.bool_],
    status: NDArray[np.uint8],
    /,
) -> None: ...
def rays(
    cameras: NDArray[np.float64],
    pixels: NDArray[np.float64],
    directions: NDArray[np.float64],
    /,
) -> None: ...
def fit_mixture(
    cameras: NDArray[np.float64],
    points: NDArray[np.float64],
    pixels: NDArray[np.float64],
    seen: NDArray[np.bool_],
    precisions: NDArray[np.float64],
    loose: NDArray[np.float64],
    log_right: NDArray[np.float64],
    log_near: NDArray[np.float64],
    log_lost: NDArray[np.float64],
    spans: NDArray[np.float64],
    rounds: int,
    tolerance: float,
    gain: NDArray[np.float64],
    right: NDArray[np.float64],
    near: NDArray[np.float64],
    residuals: NDArray[np.float64],
    information: NDArray[np.float64],
    gradient: NDArray[np.float64],
    span: NDArray[np.float64],
    /,
) -> None: ...
def add_distances(
    points: NDArray[np.float64],
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    distance: NDArray[np.float64],
    spread: NDArray[np.float64],
    log_scale: float,
    log_unusual: float,
    information: NDArray[np.float64],
    gradient: NDArray[np.float64],
    /,
) -> None: ...
def solve_positive(matrix: NDArray[np.float64], vector: NDArray[np.float64], /) -> bool: ...
def inverse_blocks(factor: NDArray[np.float64], blocks: NDArray[np.float64], /) -> None: ...
def set_lanes(lanes: int, /) -> bool: ...
