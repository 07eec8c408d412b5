"""The client library over DDS: the real grasp server before a perfect robot."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from support.server_cell import PATIENCE

from s3k_ros.client import Cell, GraspCode, Holding, NoAnswerError, NoServerError, Pose
from s3k_ros.errors import ConfigurationError, DataError
from s3k_ros.goal_logs import reader as goal_log
from s3k_ros.ros.client_messages import grasp_goal, place_goal

pytestmark = pytest.mark.ros

PHASES = ["observe", "approach", "align", "close", "lift", "verify"]
PARAMS = {
    "use_sim_time": True,
    "robot.speed_scale": 1.0,
    "grasp.verify_time_s": 0.3,
    **PATIENCE,
}


@pytest.fixture(scope="module")
def server(robot, start_node):
    process = start_node("grasp_server", PARAMS)
    process.wait_until_ready()
    return process


@pytest.fixture(scope="module")
def module_cell(server, module_domain):
    with Cell(domain_id=module_domain, timeout_s=60.0) as cell:
        yield cell


@pytest.fixture
def cell(module_cell, robot):
    robot.reset()
    robot.speed = 2.0
    time.sleep(0.3)
    return module_cell


def stands_still(robot) -> bool:
    return robot.arm_speed == 0.0


def interrupt_when(condition) -> None:
    """Ctrl-C for this process as soon as a condition holds."""

    def run() -> None:
        while not condition():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=run, daemon=True).start()


def test_a_grasp_gives_a_typed_result_its_progress_and_a_log(cell, server):
    seen = []
    result = cell.grasp("right_front_paw", toward="body", on_progress=seen.append)
    assert result and result.held and result.code is GraspCode.SUCCESS, str(result)
    assert result.holding is Holding.HOLDING and result.phase == "verify"
    assert result.keypoint.name == "right_front_paw" and result.keypoint.confidence > 0.9
    assert result.pose.frame == "base"
    assert np.hypot(*(np.array(result.pose.position)[:2] - [0.60, 0.05])) < 0.01
    assert list(dict.fromkeys(p.phase for p in seen)) == PHASES
    assert seen[-1].keypoint.spread_m == pytest.approx(0.004)
    log = written_log(server.folder / "s3k_goal_logs")
    assert log.outcome["code"] == "SUCCESS" and len(log.joint_times) > 50
    assert log.parameters["server"]["log_folder"] == "s3k_goal_logs"
    assert log.path.stat().st_size < 1_000_000


def written_log(folder: Path) -> goal_log.GoalLog:
    """The only log, once its file is whole: a thread writes it."""
    end = time.monotonic() + 30.0
    while time.monotonic() < end:
        for path in folder.glob("*.mcap"):
            with contextlib.suppress(ConfigurationError, DataError):
                if (log := goal_log.read(path)).finished:
                    return log
        time.sleep(0.1)
    pytest.fail("no whole log")


def test_what_a_robot_may_answer_is_no_exception(cell):
    result = cell.grasp("left_ear")
    assert not result and result.code is GraspCode.UNKNOWN_KEYPOINT
    assert "head" in result.message and result.pose is None


def test_progress_can_be_iterated(cell):
    task = cell.start_grasp("right_front_paw", dry_run=True)
    fractions = [progress.fraction for progress in task]
    assert fractions and task.done
    assert task.result().dry_run and "nothing moved" in task.result().message


def test_keypoints_come_by_name_also_those_not_seen(cell):
    found = cell.keypoints()
    assert found["body"].valid and np.allclose(found["body"].position, [0.66, 0.12, -0.11])
    assert not found["tail"].valid and np.isnan(found["tail"].position).all()


def test_cancel_waits_until_the_arm_stands_still(cell, robot):
    task = cell.start_grasp("right_front_paw", toward="body")
    assert task.wait(lambda: robot.arm_speed > 0.05, 60.0)
    assert task.cancel() and stands_still(robot)
    assert task.result().code is GraspCode.CANCELED


def test_a_task_that_takes_too_long_is_cancelled(cell, robot):
    robot.keypoints_alive = False
    with pytest.raises(NoAnswerError, match=r"no end within 0\.5 s, so cancelled"):
        cell.grasp("right_front_paw", timeout_s=0.5)
    robot.keypoints_alive = True
    assert cell.grasp("right_front_paw", dry_run=True)


def test_ctrl_c_cancels_and_waits_for_rest(cell, robot):
    interrupt_when(lambda: robot.arm_speed > 0.05)
    with pytest.raises(KeyboardInterrupt):
        cell.grasp("right_front_paw", toward="body")
    assert stands_still(robot) and robot._arm is None


def test_ctrl_c_cancels_even_where_rclpys_own_handler_ends_every_context(
    server, robot, module_domain
):
    robot.reset()
    program = "import rclpy; from s3k_ros.client import grasp; rclpy.init(); grasp('body')"
    process = subprocess.Popen(
        [sys.executable, "-c", program], stderr=subprocess.PIPE, text=True,
        env={**os.environ, "ROS_DOMAIN_ID": str(module_domain)},
    )  # fmt: skip
    while robot.arm_speed < 0.05:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60.0)
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert stands_still(robot) and robot._arm is None


def test_it_may_be_called_from_a_callback_of_a_spinning_node(cell, module_domain):
    context = rclpy.Context()
    rclpy.init(context=context, args=[], domain_id=module_domain,
               signal_handler_options=rclpy.signals.SignalHandlerOptions.NO)  # fmt: skip
    node = rclpy.create_node("user", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    results = []
    timer = node.create_timer(0.01, lambda: results.append(cell.grasp("body", dry_run=True)))
    while not results:
        executor.spin_once(timeout_sec=0.1)
    timer.cancel()
    context.try_shutdown()
    assert results[0].succeeded


def test_a_program_with_one_thread_lends_its_own_executor(cell, module_domain):
    context = rclpy.Context()
    rclpy.init(context=context, args=[], domain_id=module_domain,
               signal_handler_options=rclpy.signals.SignalHandlerOptions.NO)  # fmt: skip
    node = rclpy.create_node("user", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    own = Cell(node=node, executor=executor, timeout_s=60.0)
    assert own.grasp("body", dry_run=True)
    own.close()
    assert context.ok()
    context.try_shutdown()


def test_a_server_that_is_not_there_is_named(module_domain):
    with Cell("/elsewhere", domain_id=module_domain, timeout_s=0.3) as cell:
        with pytest.raises(NoServerError, match=r"/elsewhere/grasp_at_keypoint within 0\.3 s"):
            cell.grasp("right_front_paw")
        with pytest.raises(NoAnswerError, match="/elsewhere/keypoints"):
            cell.keypoints()


def test_an_option_that_is_none_is_named_with_the_valid_ones():
    with pytest.raises(ConfigurationError, match=r"no option 'grip_force'; valid: .*grip_force_n"):
        grasp_goal("body", "", {"grip_force": 3.0})  # type: ignore[typeddict-unknown-key]


def test_a_place_takes_a_keypoint_a_position_or_a_pose():
    assert place_goal("corner", "", {}).keypoint == "corner"
    goal = place_goal([0.5, 0.1, 0.2], "", {"release_width_m": 0.06})
    assert goal.pose.pose.position.y == 0.1 and not goal.use_orientation
    assert goal.release_width == 0.06 and goal.retreat_distance == -1.0
    assert place_goal(Pose((0.5, 0.1, 0.2)), "", {}).use_orientation
    with pytest.raises(ConfigurationError, match="three numbers"):
        place_goal([0.5, 0.1], "", {})


def test_what_is_held_is_placed_and_what_is_grasped_can_be_released(cell, robot):
    assert cell.grasp("right_front_paw", toward="body").held
    seen = []
    placed = cell.place([0.55, -0.15, -0.05], on_progress=seen.append)
    assert placed and not placed.held, str(placed)
    assert placed.pose.position == pytest.approx((0.55, -0.15, -0.05), abs=1e-3)
    assert list(dict.fromkeys(p.phase for p in seen))[-1] == "retreat"
    assert cell.place([0.55, -0.15, -0.05]).code is GraspCode.NOTHING_HELD
    assert cell.grasp("right_front_paw", grip_force_n=33.0, offset=[0.0, 0.01, 0.0]).held
    assert list(robot.gripper_goals[-1].command.effort) == [33.0]
    assert not cell.release().held


def s3k(domain: int, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "s3k_ros.cli", *words], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "ROS_DOMAIN_ID": str(domain)},
    )  # fmt: skip


def test_the_command_grasps_and_tells_phases_and_result(cell, module_domain):
    process = s3k(module_domain, "grasp", "right_front_paw", "--toward", "body", "--json")
    output, lines = process.communicate(timeout=120.0)
    result = json.loads(output)
    assert process.returncode == 0 and result["code_name"] == "SUCCESS", lines
    assert [line.split()[2] for line in lines.splitlines()] == PHASES
    assert "right_front_paw: 0.95, ±4.0 mm" in lines


def test_the_command_says_what_to_do_and_fails(cell, module_domain):
    process = s3k(module_domain, "grasp", "left_ear")
    output, _ = process.communicate(timeout=120.0)
    assert process.returncode == 1
    assert output.startswith("UNKNOWN_KEYPOINT") and "what to do: Take a name" in output


def test_the_command_cancels_on_ctrl_c_and_waits_for_rest(cell, robot, module_domain):
    process = s3k(module_domain, "grasp", "right_front_paw")
    while robot.arm_speed < 0.05:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60.0)
    assert process.returncode == 1 and "cancelled" in errors
    assert stands_still(robot) and robot._arm is None
