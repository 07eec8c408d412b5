from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from s3k_ros.errors import ConfigurationError
from s3k_ros.geometry.se3 import Transform

COORDINATE = st.floats(-10.0, 10.0, allow_subnormal=False)
VECTORS = st.tuples(COORDINATE, COORDINATE, COORDINATE).map(np.array)
QUATERNIONS = (
    st.tuples(*[st.floats(-1.0, 1.0, allow_subnormal=False)] * 4)
    .map(np.array)
    .filter(lambda q: np.linalg.norm(q) > 1e-3)
)
TRANSFORMS = st.builds(Transform.from_quaternion, QUATERNIONS, VECTORS)
# Round-off of a few products of numbers up to 30.
CLOSE = {"atol": 1e-12, "rtol": 1e-12}


def same(a: Transform, b: Transform) -> bool:
    return np.allclose(a.matrix, b.matrix, **CLOSE)


@given(TRANSFORMS)
def test_inverse_undoes_the_motion(a: Transform) -> None:
    assert same(a @ a.inverse(), Transform.identity())
    assert same(a.inverse() @ a, Transform.identity())


@given(TRANSFORMS, TRANSFORMS, TRANSFORMS)
def test_composition_is_associative(a: Transform, b: Transform, c: Transform) -> None:
    assert np.allclose(((a @ b) @ c).matrix, (a @ (b @ c)).matrix, atol=1e-11)


@given(TRANSFORMS)
def test_identity_is_neutral(a: Transform) -> None:
    assert same(a @ Transform.identity(), a)
    assert same(Transform.identity() @ a, a)


@given(TRANSFORMS, TRANSFORMS, VECTORS)
def test_composition_acts_as_one_after_the_other(
    a: Transform, b: Transform, point: np.ndarray
) -> None:
    assert np.allclose((a @ b).apply(point), a.apply(b.apply(point)), atol=1e-11)
    assert np.allclose((a @ b).matrix, a.matrix @ b.matrix, **CLOSE)


@given(QUATERNIONS, VECTORS)
def test_quaternions_agree_with_scipy_and_survive_the_round_trip(
    quaternion: np.ndarray, translation: np.ndarray
) -> None:
    transform = Transform.from_quaternion(quaternion, translation)
    expected = Rotation.from_quat(quaternion)
    assert np.allclose(transform.rotation, expected.as_matrix(), **CLOSE)
    assert same(Transform.from_quaternion(transform.quaternion, translation), transform)


def test_apply_and_rotate_take_batches() -> None:
    transform = Transform.from_quaternion([0.0, 0.0, 1.0, 1.0], [1.0, 2.0, 3.0])
    points = np.broadcast_to([1.0, 0.0, 0.0], (5, 2, 3))
    assert np.allclose(transform.apply(points), [1.0, 3.0, 3.0])
    assert np.allclose(transform.rotate(points), [0.0, 1.0, 0.0])


def test_arrays_are_read_only_copies() -> None:
    translation = np.zeros(3)
    transform = Transform(np.eye(3), translation)
    translation[0] = 1.0
    assert transform.translation[0] == 0.0
    with pytest.raises(ValueError, match="read-only"):
        transform.translation[0] = 1.0


@pytest.mark.parametrize(
    ("rotation", "translation", "message"),
    [
        (np.eye(3) * 1.01, np.zeros(3), "orthonormal"),
        (np.diag([1.0, 1.0, -1.0]), np.zeros(3), "determinant"),
        (np.eye(2), np.zeros(3), "shape"),
        (np.eye(3), np.array([0.0, np.nan, 0.0]), "finite"),
    ],
)
def test_what_is_no_rigid_motion_is_refused(
    rotation: np.ndarray, translation: np.ndarray, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Transform(rotation, translation)


def test_quaternion_of_norm_zero_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="norm zero"):
        Transform.from_quaternion([0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0])
