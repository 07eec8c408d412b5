"""tf2_ros: composition, interpolation, extrapolation, static transforms, waiting.

Passes unchanged against upstream's package (see conftest.py).
"""

import threading
import time as wall

import numpy as np
import pytest
import tf2_ros
from geometry_msgs.msg import TransformStamped
from hypothesis import given, settings
from hypothesis import strategies as st
from rclpy.duration import Duration
from rclpy.time import Time
from scipy.spatial.transform import Rotation, Slerp

TOLERANCE = 1e-9  # double precision over a handful of products


def stamped(parent, child, seconds, translation=(0, 0, 0), rotation=(0, 0, 0, 1)):
    message = TransformStamped()
    message.header.frame_id, message.child_frame_id = parent, child
    message.header.stamp = Time(nanoseconds=round(seconds * 1e9)).to_msg()
    t, r = message.transform.translation, message.transform.rotation
    t.x, t.y, t.z = map(float, translation)
    r.x, r.y, r.z, r.w = map(float, rotation)
    return message


def matrix(message):
    t, r = message.transform.translation, message.transform.rotation
    result = np.identity(4)
    result[:3, :3] = Rotation.from_quat([r.x, r.y, r.z, r.w]).as_matrix()
    result[:3, 3] = t.x, t.y, t.z
    return result


def at(seconds):
    return Time(nanoseconds=round(seconds * 1e9))


def look(buffer, target, source, seconds=0.0):
    return buffer.lookup_transform(target, source, at(seconds))


@pytest.fixture
def buffer(ros):
    return tf2_ros.Buffer()


poses = st.tuples(
    st.tuples(*[st.floats(-2, 2)] * 3),
    st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: np.linalg.norm(q) > 0.1),
).map(lambda pose: (pose[0], tuple(np.array(pose[1]) / np.linalg.norm(pose[1]))))


@settings(max_examples=60, deadline=None)
@given(st.lists(poses, min_size=5, max_size=5))
def test_look_up_composes_along_any_path_of_the_tree(ros, chain):
    # world -> a -> b and world -> c -> d -> e
    edges = [("world", "a"), ("a", "b"), ("world", "c"), ("c", "d"), ("d", "e")]
    buffer, in_world = tf2_ros.Buffer(), {"world": np.identity(4)}
    for (parent, child), (translation, rotation) in zip(edges, chain, strict=True):
        message = stamped(parent, child, 5.0, translation, rotation)
        buffer.set_transform(message, "test")
        in_world[child] = in_world[parent] @ matrix(message)
    for target in in_world:
        for source in in_world:
            expected = np.linalg.inv(in_world[target]) @ in_world[source]
            found = matrix(look(buffer, target, source, 5.0))
            np.testing.assert_allclose(found, expected, atol=TOLERANCE)


def test_result_names_target_source_and_time(buffer):
    buffer.set_transform(stamped("world", "arm", 5.25, (1, 2, 3)), "test")
    found = look(buffer, "world", "arm", 5.25)
    assert found.header.frame_id == "world" and found.child_frame_id == "arm"
    assert Time.from_msg(found.header.stamp).nanoseconds == 5_250_000_000
    assert found.transform.translation.x == 1.0


@settings(max_examples=60, deadline=None)
@given(poses, poses, st.floats(0.0, 1.0))
def test_between_two_stamps_it_interpolates_and_turns_the_shorter_way(ros, first, second, ratio):
    buffer = tf2_ros.Buffer()
    buffer.set_transform(stamped("world", "arm", 10.0, *first), "test")
    buffer.set_transform(stamped("world", "arm", 11.0, *second), "test")
    when = round((10.0 + ratio) * 1e9)
    found = matrix(buffer.lookup_transform("world", "arm", Time(nanoseconds=when)))
    ratio = (when - 10 * 10**9) / 10**9
    turn = Slerp([0, 1], Rotation.from_quat([first[1], second[1]]))(ratio)
    angle = (Rotation.from_quat(second[1]) * Rotation.from_quat(first[1]).inv()).magnitude()
    expected = (1 - ratio) * np.array(first[0]) + ratio * np.array(second[0])
    np.testing.assert_allclose(found[:3, 3], expected, atol=TOLERANCE)
    if angle < 3.1:  # at half a turn both ways are as short
        np.testing.assert_allclose(found[:3, :3], turn.as_matrix(), atol=1e-6)


def test_time_zero_gives_the_latest_time_common_to_the_whole_path(buffer):
    for seconds in (10.0, 11.0, 12.0):
        buffer.set_transform(stamped("world", "arm", seconds, (seconds, 0, 0)), "test")
    for seconds in (10.0, 11.5):
        buffer.set_transform(stamped("arm", "hand", seconds), "test")
    found = look(buffer, "world", "hand")
    assert Time.from_msg(found.header.stamp).nanoseconds == 11_500_000_000
    assert found.transform.translation.x == pytest.approx(11.5)


def test_static_transforms_hold_at_any_time_and_do_not_limit_the_latest(buffer):
    buffer.set_transform_static(stamped("world", "camera", 3.0, (0, 0, 1)), "test")
    assert look(buffer, "world", "camera", 12345.0).transform.translation.z == 1.0
    assert Time.from_msg(look(buffer, "world", "camera").header.stamp).nanoseconds == 0
    buffer.set_transform(stamped("world", "arm", 10.0, (1, 0, 0)), "test")
    found = look(buffer, "camera", "arm")
    assert Time.from_msg(found.header.stamp).nanoseconds == 10 * 10**9
    assert found.transform.translation.z == -1.0


@pytest.mark.parametrize("seconds", [9.9, 11.1])
def test_a_time_outside_what_is_stored_is_refused(buffer, seconds):
    for known in (10.0, 11.0):
        buffer.set_transform(stamped("world", "arm", known), "test")
    with pytest.raises(tf2_ros.ExtrapolationException):
        look(buffer, "world", "arm", seconds)
    assert not buffer.can_transform("world", "arm", at(seconds))


def test_one_stamp_alone_serves_only_that_very_time(buffer):
    buffer.set_transform(stamped("world", "arm", 10.0), "test")
    look(buffer, "world", "arm", 10.0)
    with pytest.raises(tf2_ros.ExtrapolationException):
        look(buffer, "world", "arm", 10.001)


def test_only_the_path_between_the_frames_needs_data_at_that_time(buffer):
    buffer.set_transform(stamped("world", "base", 1.0), "test")
    for seconds in (10.0, 11.0):
        buffer.set_transform(stamped("base", "arm", seconds, (seconds, 0, 0)), "test")
        buffer.set_transform(stamped("base", "camera", seconds), "test")
    assert look(buffer, "camera", "arm", 10.5).transform.translation.x == pytest.approx(10.5)


def test_an_unknown_frame_is_a_look_up_error(buffer):
    buffer.set_transform(stamped("world", "arm", 10.0), "test")
    with pytest.raises(tf2_ros.LookupException, match="nowhere"):
        look(buffer, "world", "nowhere", 10.0)


def test_two_trees_are_a_connectivity_error(buffer):
    buffer.set_transform(stamped("world", "arm", 10.0), "test")
    buffer.set_transform(stamped("other", "camera", 10.0), "test")
    for seconds in (0.0, 10.0):
        with pytest.raises(tf2_ros.ConnectivityException):
            look(buffer, "arm", "camera", seconds)


@pytest.mark.parametrize("name", ["", "/world"])
def test_an_impossible_frame_name_is_an_argument_error(buffer, name):
    buffer.set_transform(stamped("world", "arm", 10.0), "test")
    with pytest.raises(tf2_ros.InvalidArgumentException):
        look(buffer, name, "arm", 10.0)


def test_all_errors_share_one_root():
    for error in (
        tf2_ros.LookupException,
        tf2_ros.ConnectivityException,
        tf2_ros.ExtrapolationException,
        tf2_ros.InvalidArgumentException,
    ):
        assert issubclass(error, tf2_ros.TransformException)


def test_a_frame_is_at_identity_in_itself_even_when_unknown(buffer):
    np.testing.assert_allclose(matrix(look(buffer, "x", "x", 3.0)), np.identity(4))


def test_a_frame_can_change_its_parent(buffer):
    buffer.set_transform(stamped("world", "tool", 10.0, (1, 0, 0)), "test")
    buffer.set_transform_static(stamped("world", "hand", 0.0, (5, 0, 0)), "test")
    buffer.set_transform(stamped("hand", "tool", 11.0, (2, 0, 0)), "test")
    assert look(buffer, "world", "tool", 11.0).transform.translation.x == pytest.approx(7.0)
    assert look(buffer, "world", "tool", 10.0).transform.translation.x == pytest.approx(1.0)
    # Between two parents there is nothing to interpolate: the older one holds.
    assert look(buffer, "world", "tool", 10.9).transform.translation.x == pytest.approx(1.0)


def test_old_transforms_are_forgotten(ros):
    buffer = tf2_ros.Buffer(cache_time=Duration(seconds=2))
    for seconds in range(10, 20):
        buffer.set_transform(stamped("world", "arm", seconds), "test")
    look(buffer, "world", "arm", 17.0)
    with pytest.raises(tf2_ros.ExtrapolationException):
        look(buffer, "world", "arm", 15.0)
    buffer.set_transform(stamped("world", "arm", 12.0), "test")  # too old to be taken
    with pytest.raises(tf2_ros.ExtrapolationException):
        look(buffer, "world", "arm", 15.0)


def test_late_transforms_are_sorted_in(buffer):
    for seconds in (10.0, 12.0, 11.0):
        buffer.set_transform(stamped("world", "arm", seconds, (seconds**2, 0, 0)), "test")
    found = look(buffer, "world", "arm", 11.5).transform.translation.x
    assert found == pytest.approx((121 + 144) / 2)


@pytest.mark.parametrize(
    "bad",
    [
        stamped("arm", "arm", 10.0),
        stamped("world", "", 10.0),
        stamped("", "arm", 10.0),
        stamped("world", "arm", 10.0, (float("nan"), 0, 0)),
        stamped("world", "arm", 10.0, rotation=(0, 0, 0, 0)),
    ],
)
def test_impossible_transforms_are_ignored(buffer, bad):
    buffer.set_transform(bad, "test")
    assert not buffer.can_transform("world", "arm", at(10.0))


def test_a_clearing_keeps_static_transforms_alone(buffer):
    buffer.set_transform_static(stamped("world", "camera", 0.0), "test")
    buffer.set_transform(stamped("world", "arm", 10.0), "test")
    buffer.clear()
    assert buffer.can_transform("world", "camera", at(10.0))
    assert not buffer.can_transform("world", "arm", at(10.0))


def test_can_transform_tells_the_reason_on_request(buffer):
    possible, reason = buffer.can_transform("world", "arm", at(1.0), return_debug_tuple=True)
    assert not possible and "world" in reason


def test_a_look_up_with_timeout_waits_for_the_transform(buffer):
    timer = threading.Timer(0.2, buffer.set_transform, [stamped("world", "arm", 10.0), "test"])
    timer.start()
    started = wall.monotonic()
    buffer.lookup_transform("world", "arm", at(10.0), timeout=Duration(seconds=5))
    assert 0.1 < wall.monotonic() - started < 4.0


def test_a_look_up_gives_up_after_its_timeout(buffer):
    started = wall.monotonic()
    with pytest.raises(tf2_ros.LookupException):
        buffer.lookup_transform("world", "arm", at(10.0), Duration(seconds=0.2))
    assert 0.15 < wall.monotonic() - started < 2.0


def test_a_future_is_done_as_soon_as_the_transform_is_there(buffer):
    future = buffer.wait_for_transform_async("world", "arm", at(10.0))
    assert not future.done()
    buffer.set_transform(stamped("world", "arm", 10.0), "test")
    assert future.done()


def test_transforms_travel_from_broadcasters_to_listeners(ros, node, spin):
    static = tf2_ros.StaticTransformBroadcaster(node)
    static.sendTransform(stamped("world", "camera", 0.0, (0, 0, 1)))
    static.sendTransform([stamped("world", "table", 0.0, (0, 0, 2))])
    buffer = tf2_ros.Buffer()
    listener = tf2_ros.TransformListener(buffer, node)  # comes late and gets the static ones
    moving = tf2_ros.TransformBroadcaster(node)
    spin(lambda: moving.pub_tf.get_subscription_count() > 0)
    moving.sendTransform([stamped("world", "arm", 10.0), stamped("arm", "hand", 10.0, (1, 0, 0))])
    for frame in ("camera", "table", "hand"):
        spin(lambda frame=frame: buffer.can_transform("world", frame, at(0.0)))
    assert look(buffer, "world", "table").transform.translation.z == 2.0
    listener.unregister()
