"""From heatmaps to positions, error covariances and confidences.

The position is the mean in a window around the mode, because whole-map moments leak: 1 % of the
mass 40 px away moves the mean by 0.4 px. The whole map's spread only serves as the detection
weight. Positions here are x, y in heatmap cells; `Region.to_image` makes them pixels.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from s3k_ros.geometry.triangulation import detection_weights
from s3k_ros.perception.description import CONFIDENCE_FEATURES, ModelDescription

Array = NDArray[np.float64]

# The window follows the mean, which ends its bias towards the mode's cell (a factor 4 a step).
_RECENTRINGS = 3
# Masses and spreads below this are the same to the confidence: nothing is there.
_FLOOR = 1e-4


def softmax(logits: NDArray[np.floating]) -> NDArray[np.float32]:
    """Probabilities (..., h, w) over all cells of each map; NaN for a map that is not finite."""
    with np.errstate(invalid="ignore", over="ignore"):
        top = logits.max(axis=(-2, -1), keepdims=True)
        maps = np.exp((logits - top).astype(np.float32))
        total = maps.sum(axis=(-2, -1), keepdims=True)
        probabilities: NDArray[np.float32] = maps / total
    return probabilities


@dataclasses.dataclass(frozen=True, eq=False)
class Peaks:
    """The P highest peaks of maps (...), the one with the most mass first. Units: cells.

    Attributes:
        positions: (..., P, 2) x, y of the mean in the window.
        covariances: (..., P, 2, 2) in the window.
        masses: (..., P) probability in the window.
        spread: (...) s = root of half the trace of the whole map's covariance.
    """

    positions: Array
    covariances: Array
    masses: Array
    spread: Array


def find_peaks(probabilities: NDArray[np.floating], window: float, count: int = 2) -> Peaks:
    """Finds peaks, each one outside the windows of those before.

    Args:
        probabilities: (..., h, w); a map that is not finite gives NaN.
        window: half width of the window, cells.
        count: number of peaks P.
    """
    *shape, height, width = probabilities.shape
    maps = probabilities.reshape(-1, height, width)
    finite = np.isfinite(maps).all(axis=(-2, -1))
    maps = np.where(finite[:, np.newaxis, np.newaxis], maps, np.float32(0.0)).astype(np.float32)
    spread = _spread(maps)
    found = []
    for _ in range(count):
        flat = maps.reshape(len(maps), -1).argmax(axis=1)
        mode = np.stack([flat % width, flat // width], axis=-1)
        # All that a window can come to lie on as it follows the mean.
        columns = _around(mode[:, 0], window, width)
        rows = _around(mode[:, 1], window, height)
        parts = [
            whole[y[0] : y[-1] + 1, x[0] : x[-1] + 1]
            for whole, y, x in zip(maps, rows, columns, strict=True)
        ]
        position, covariance, mass, cover = _windowed(np.stack(parts), columns, rows, mode, window)
        found.append((position, covariance, mass))
        for part, covered in zip(parts, cover, strict=True):
            part *= 1.0 - covered
    positions, covariances, masses = (
        np.stack([peak[i] for peak in found], axis=1) for i in range(3)
    )
    order = np.argsort(-masses, axis=1, kind="stable")
    rows = np.arange(len(order))[:, np.newaxis]
    for values in (positions, covariances, masses, spread):
        values[~finite] = np.nan
    return Peaks(
        positions[rows, order].reshape(*shape, count, 2),
        covariances[rows, order].reshape(*shape, count, 2, 2),
        masses[rows, order].reshape(*shape, count),
        spread.reshape(shape),
    )


def _spread(maps: NDArray[np.float32]) -> Array:
    across, down = maps.sum(axis=1, dtype=np.float64), maps.sum(axis=2, dtype=np.float64)
    trace = np.zeros(len(maps))
    for marginal in (across, down):
        cells = np.arange(marginal.shape[1])
        mean = marginal @ cells
        trace += marginal @ (cells * cells) - mean * mean
    spread: Array = np.sqrt(np.maximum(0.5 * trace, 0.0))
    return spread


def _around(mode: NDArray[np.int_], window: float, size: int) -> NDArray[np.int_]:
    """(M, n) neighbouring cells of 0..size-1 around modes (M,)."""
    reach = int(np.ceil((_RECENTRINGS + 1) * (window + 0.5)))
    count = min(2 * reach + 1, size)
    first = np.clip(mode - reach, 0, size - count)
    return first[:, np.newaxis] + np.arange(count)


def _windowed(
    maps: NDArray[np.float32],
    columns: NDArray[np.int_],
    rows: NDArray[np.int_],
    mode: NDArray[np.int_],
    window: float,
) -> tuple[Array, Array, Array, NDArray[np.float32]]:
    """Mean, covariance, mass and the window itself (M, h, w), of parts of maps (M, h, w).

    Args:
        maps: the parts.
        columns: (M, w) that they show.
        rows: (M, h) that they show.
        mode: (M, 2) x, y where the window begins.
        window: half width of the window, cells.
    """
    mean = mode.astype(np.float64)
    for step in range(_RECENTRINGS + 1):
        across = _box(columns, mean[:, 0], window)
        down = _box(rows, mean[:, 1], window)
        # Marginals of the window's content.
        inside_x = (down[:, np.newaxis] @ maps)[:, 0] * across
        inside_y = (maps @ across[..., np.newaxis])[..., 0] * down
        mass = inside_x.sum(axis=1, dtype=np.float64)
        scale = 1.0 / np.maximum(mass, np.finfo(np.float64).tiny)
        if step < _RECENTRINGS:
            sums = [(inside_x * columns).sum(axis=1), (inside_y * rows).sum(axis=1)]
            centre = np.stack(sums, axis=-1) * scale[:, np.newaxis]
            mean = np.where((mass > 0)[:, np.newaxis], centre, mode)
    x, y = columns - mean[:, :1], rows - mean[:, 1:]
    covariance = np.empty((len(maps), 2, 2))
    covariance[:, 0, 0] = (inside_x * x**2).sum(axis=1) * scale
    covariance[:, 1, 1] = (inside_y * y**2).sum(axis=1) * scale
    mixed = ((y * down)[:, np.newaxis] @ maps @ (x * across)[..., np.newaxis])[:, 0, 0] * scale
    covariance[:, 0, 1] = covariance[:, 1, 0] = mixed
    return mean, covariance, mass, down[:, :, np.newaxis] * across[:, np.newaxis, :]


def _box(cells: NDArray[np.int_], centre: Array, window: float) -> NDArray[np.float32]:
    """Weights (M, n) of cells (n,) or (M, n) in a window around a centre (M,) between cells."""
    distance = np.abs(cells - centre[:, np.newaxis])
    return np.clip(window + 0.5 - distance, 0.0, 1.0).astype(np.float32)


def windowed_variance(sigma: float, window: float) -> float:
    """Variance per axis, cells^2, that a Gaussian target of width sigma has in the window."""
    cells = np.arange(-int(window) - 1, int(window) + 2)
    weights = np.exp(-0.5 * (cells / sigma) ** 2)
    weights = weights * _box(cells, np.zeros(1), window)[0]
    return float((weights * cells * cells).sum() / weights.sum())


def excess_covariance(covariances: Array, sigma: float, window: float) -> Array:
    """max(Cov - sigma^2 I, 0), cells^2: how much wider than its target a peak is.

    sigma^2 is that of the Gaussian target in the same window; the maximum is taken of eigenvalues.

    Args:
        covariances: (..., 2, 2) in the window, cells^2.
        sigma: width of the training target, cells.
        window: half width of the window, cells.
    """
    known = np.asarray(np.isfinite(covariances).all(axis=(-2, -1), keepdims=True))
    values, vectors = np.linalg.eigh(np.where(known, covariances, 0.0))
    values = np.maximum(values - windowed_variance(sigma, window), 0.0)
    excess = (vectors * values[..., np.newaxis, :]) @ vectors.swapaxes(-1, -2)
    return np.where(known, excess, np.nan)


def confidence_features(peaks: Peaks, sigma: float) -> Array:
    """(..., P, F) features of each peak, in the order of `CONFIDENCE_FEATURES`."""
    best_other = np.where(
        np.arange(peaks.masses.shape[-1]) == 0, peaks.masses[..., 1:2], peaks.masses[..., :1]
    )
    log_mass = np.log(np.maximum(peaks.masses, _FLOOR))
    log_spread = np.log(np.maximum(peaks.spread / sigma, _FLOOR))
    log_margin = log_mass - np.log(np.maximum(best_other, _FLOOR))
    features = [log_mass, np.broadcast_to(log_spread[..., np.newaxis], log_mass.shape), log_margin]
    return np.stack(features, axis=-1)


def confidence(features: Array, description: ModelDescription) -> Array:
    """P(no gross error) (...) of features (..., F); zero where they are not finite."""
    model = description.uncertainty.confidence
    weights = np.array([model.weights.get(name, 0.0) for name in CONFIDENCE_FEATURES])
    known = np.asarray(np.isfinite(features).all(axis=-1))
    odds = np.where(known[..., np.newaxis], features, 0.0) @ weights + model.bias
    probability: Array = np.where(known, 1.0 / (1.0 + np.exp(-np.clip(odds, -50.0, 50.0))), 0.0)
    return probability


def error_covariances(excess: Array, image_width: int, description: ModelDescription) -> Array:
    """A_k + b_k excess, px^2 of the full-resolution image.

    Args:
        excess: (K, ..., 2, 2) of `excess_covariance`, in px^2 of the full-resolution image.
        image_width: width of the full-resolution image, px.
        description: the model's.
    """
    model = description.uncertainty
    extra = (1,) * (excess.ndim - 3)
    floor = np.array(model.pixel_variance).reshape(-1, *extra, 2, 2)
    gain = np.array(model.spread_gain).reshape(-1, *extra, 1, 1)
    covariances: Array = floor * (image_width / model.reference_width) ** 2 + gain * excess
    return covariances


def whole_map_weights(spread: Array, sigma: float, description: ModelDescription) -> Array:
    """Detection weights of Eq. 2 for whole-map spreads in cells."""
    weights = description.weights
    return detection_weights(spread, sigma, weights.alpha, weights.beta)
