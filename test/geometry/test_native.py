"""What src/ computes, against NumPy; triangulation and mixture have tests of their own."""

from __future__ import annotations

import numpy as np
import pytest

from s3k_ros.geometry import _native


@pytest.mark.parametrize("lanes", [2, 4, 8])
@pytest.mark.parametrize("blocks", [1, 2, 5, 40])
def test_systems_are_solved_and_inverted(blocks: int, lanes: int) -> None:
    rng = np.random.default_rng(blocks)
    n = 3 * blocks
    root = rng.normal(size=(n, n)) * (rng.random((n, n)) < 0.3)  # with zeros, as distances leave
    matrix, vector = root @ root.T + np.eye(n), rng.normal(size=n)
    factor, solution, inverse = matrix.copy(), vector.copy(), np.empty((blocks, 3, 3))
    _native.set_lanes(lanes)  # where the processor has them
    try:
        assert _native.solve_positive(factor, solution)
        _native.inverse_blocks(factor, inverse)
    finally:
        for widest in (2, 4, 8):
            _native.set_lanes(widest)
    assert np.allclose(solution, np.linalg.solve(matrix, vector))
    assert np.allclose(np.tril(factor), np.linalg.cholesky(matrix))
    rows = np.arange(blocks)
    expected = np.linalg.inv(matrix).reshape(blocks, 3, blocks, 3)[rows, :, rows, :]
    assert np.allclose(inverse, expected)


def test_a_matrix_that_is_not_positive_definite_has_no_solution() -> None:
    assert not _native.solve_positive(np.diag([1.0, -1.0, 1.0]), np.ones(3))
    assert not _native.solve_positive(np.full((3, 3), np.nan), np.ones(3))


def test_misfitting_arrays_are_refused() -> None:
    with pytest.raises(ValueError, match="argument 1"):
        _native.solve_positive(np.eye(2), np.ones(3))
    with pytest.raises(ValueError, match="argument 2"):
        _native.solve_positive(np.eye(3), np.ones(3, np.float32))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="read-only"):
        fixed = np.eye(3)
        fixed.setflags(write=False)
        _native.solve_positive(fixed, np.ones(3))
    with pytest.raises(TypeError, match="2 arguments expected, 3 given"):
        _native.solve_positive(np.eye(3), np.ones(3), np.ones(3))  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="more than 2"):
        _native.rays(np.zeros((0, 25)), np.zeros((0, 2, 2)))  # type: ignore[call-arg]
