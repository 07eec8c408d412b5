"""`sim_cell`: the simulated cell under the hardware's own names."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import signal
import sys
from multiprocessing import resource_tracker

from rclpy.clock import Clock, ClockType
from std_msgs.msg import Float64
from std_srvs.srv import Trigger
from tf2_ros import StaticTransformBroadcaster

from s3k_ros.errors import ConfigurationError, DeviceUnavailableError
from s3k_ros.params.simulation import (
    ArmControlParameters,
    GripperControlParameters,
    SimCellParameters,
)
from s3k_ros.ros import conversions
from s3k_ros.ros.diagnostics import Level, Report
from s3k_ros.ros.node import S3kNode, run_node
from s3k_ros.ros.sim_actions import ArmServer, GripperServer
from s3k_ros.ros.sim_publishers import StatePublisher
from s3k_ros.ros.sim_renderer import RendererProcess, run_renderer
from s3k_ros.ros.sim_robot import RobotServices, RobotStatePublisher
from s3k_ros.simulation.cell import TABLE_HEIGHT_M, build_cell
from s3k_ros.simulation.frames import RobotFrames
from s3k_ros.simulation.renderer import ExposureSender, RendererSetup
from s3k_ros.simulation.rig import demo_rig
from s3k_ros.simulation.scene import SETTLE_S, ToyScene
from s3k_ros.simulation.simulator import Simulator
from s3k_ros.simulation.touch import CameraBodies
from s3k_ros.srv import ResetScene

POLL_HZ = 50.0
# The physics thread waits at most this long for Python's interpreter lock.
SWITCH_INTERVAL_S = 5e-4
SLOW_FACTOR = 0.95


class SimCellNode(S3kNode):
    def __init__(self) -> None:
        super().__init__("sim_cell")
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        self._params = self.declare(SimCellParameters, on_change=self._on_change)
        arm = self.declare(ArmControlParameters, "arm")
        gripper = self.declare(GripperControlParameters, "gripper")
        setup = RendererSetup(
            self._params.scene_family,
            self._params.image_width,
            self._params.shadows,
            self._params.scene_view,
            self._params.scene_objects,
        )
        self._names = tuple(camera.name for camera in setup.cameras)
        self._check_cameras(self._params)
        self._start_niceness = os.getpriority(os.PRIO_PROCESS, 0)
        self._take_priority()
        self._start_renderer(setup)
        scene = ToyScene(TABLE_HEIGHT_M, self._params.scene_family, self._params.scene_objects)
        # Cameras see in the renderer's copy of the cell; here they are only solid.
        bodies = CameraBodies(demo_rig(self._params.image_width))
        cell = build_cell([scene, bodies], timestep_s=self._params.timestep_s)
        self._simulator = Simulator(
            cell, scene, arm_params=arm, gripper_params=gripper, seed=self._params.seed,
            settle_s=SETTLE_S, wrench_noise=self._params.wrench_noise, fail=self._on_failure,
        )  # fmt: skip
        frames = RobotFrames(cell, self._params.base_frame)
        self._broadcast(frames, setup)
        publisher = StatePublisher(self, self._params, frames, scene)
        self._simulator.add_listener(publisher)
        self._simulator.add_listener(RobotStatePublisher(self, self._params))
        self._simulator.add_listener(self._sender)
        self._robot = RobotServices(self, self._params, self._simulator)
        self._arm: ArmServer | None = None
        self._gripper: GripperServer | None = None
        self._switch_servers()
        self.create_service(ResetScene, "sim/reset", self._on_reset)
        self.create_service(Trigger, self._params.zero_wrench_service, self._on_zero_wrench)
        self._factor = self.create_publisher(Float64, "sim/real_time_factor", 10)
        self.diagnostics.add("physics", self._report_physics)
        self.diagnostics.add("renderer", self._report_renderer)
        self.diagnostics.add("robot", self._report_robot)
        wall = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(1.0 / POLL_HZ, self._poll, clock=wall)
        self.create_timer(1.0, self._watch, clock=wall)
        self._simulator.start()
        self.get_logger().info(f"scene {self._params.seed} lies ready")

    def close(self) -> None:
        if hasattr(self, "_simulator"):
            self._simulator.close()
        if hasattr(self, "_renderer"):
            self._sender.connection.close()
            self._renderer.join(3.0)
            if self._renderer.is_alive():
                self._renderer.kill()

    def _take_priority(self) -> None:
        """For this thread and those that it will start: all that may hold Python's lock."""
        with contextlib.suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, 0, self._start_niceness + self._params.physics_niceness)

    def _start_renderer(self, setup: RendererSetup) -> None:
        config = RendererProcess(
            setup=setup,
            niceness=self._start_niceness + self._params.render_niceness,
            camera_info=self._params.publish_camera_info,
            namespace=self.get_namespace(),
            remaps=topic_remaps(sys.argv),
        )
        context = multiprocessing.get_context("spawn")  # a GL context does not survive a fork
        ours, theirs = context.Pipe()
        self._renderer = context.Process(
            target=run_renderer, args=(config, theirs), name="sim_renderer", daemon=True
        )
        # Ctrl-C reaches the whole group: the renderer ends when its pipe closes, not by itself. The
        # mask is inherited, so it holds from the process's first instruction on.
        resource_tracker.ensure_running()  # its start would lift the mask
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._renderer.start()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        theirs.close()
        self._sender = ExposureSender(ours, self._enabled(), self._params.image_rate_hz)

    def _broadcast(self, frames: RobotFrames, setup: RendererSetup) -> None:
        fixed = list(frames.fixed)
        if self._params.publish_calibration:
            fixed += [
                (self._params.base_frame, f"{camera.name}_optical", camera.base_from_camera)
                for camera in setup.cameras
            ]
        self._broadcaster = StaticTransformBroadcaster(self)
        self._broadcaster.sendTransform(
            [
                conversions.transform_stamped(pose, conversions.header(0, parent), child)
                for parent, child, pose in fixed
            ]
        )

    def _enabled(self) -> tuple[str, ...]:
        return tuple(n for n in self._names if n not in self._params.disabled_cameras)

    def _check_cameras(self, params: SimCellParameters) -> None:
        unknown = sorted(set(params.disabled_cameras) - set(self._names))
        if unknown:
            raise ConfigurationError(
                f"disabled_cameras: {unknown[0]!r} is not one of {', '.join(self._names)}"
            )

    def _on_change(self, params: SimCellParameters) -> None:
        self._params = params
        try:
            self._check_cameras(params)
        except ConfigurationError as error:
            self.get_logger().warning(str(error))
        self._sender.cameras, self._sender.rate_hz = self._enabled(), params.image_rate_hz
        self._switch_servers()

    def _switch_servers(self) -> None:
        params = self._params
        if params.arm_server_enabled and self._arm is None:
            self._arm = ArmServer(self, params.arm_action, self._simulator)
        elif not params.arm_server_enabled and self._arm is not None:
            self._arm.destroy()
            self._arm = None
        if params.gripper_server_enabled and self._gripper is None:
            self._gripper = GripperServer(
                self, params.gripper_action, params.gripper_action_type, self._simulator,
                params.allow_stalling,
            )  # fmt: skip
        elif not params.gripper_server_enabled and self._gripper is not None:
            self._gripper.destroy()
            self._gripper = None
        if self._gripper is not None:
            self._gripper.allow_stalling = params.allow_stalling

    def _on_failure(self, error: BaseException) -> None:
        # After a signal the publishers are gone before the physics is: that is no error.
        if self.context.ok():
            self.fail(error)

    def _poll(self) -> None:
        for server in (self._arm, self._gripper):
            if server is not None:
                server.poll()

    def _watch(self) -> None:
        self._factor.publish(Float64(data=self._simulator.real_time_factor))
        if not self._renderer.is_alive():
            self.fail(DeviceUnavailableError("the renderer's process has ended, see its message"))

    def _on_reset(
        self, request: ResetScene.Request, response: ResetScene.Response
    ) -> ResetScene.Response:
        try:
            self._simulator.reset(request.seed)
        except DeviceUnavailableError as error:
            response.message = str(error)
            return response
        response.success = True
        return response

    def _on_zero_wrench(
        self, _request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        self._simulator.zero_wrench()
        response.success = True
        return response

    def _report_physics(self) -> Report:
        factor = self._simulator.real_time_factor
        state = self._simulator.state
        values = {"real_time_factor": factor, "seed": state.seed, "scenes": state.epoch + 1}
        if self._simulator.failure:
            return Report(Level.ERROR, f"physics diverged: {self._simulator.failure}", values)
        if factor < SLOW_FACTOR:
            return Report(Level.WARN, f"slower than real time: factor {factor:.2f}", values)
        return Report(Level.OK, f"factor {factor:.2f}", values)

    def _report_robot(self) -> Report:
        status = self._simulator.state.robot
        return Report() if status.ready else Report(Level.WARN, status.reason)

    def _report_renderer(self) -> Report:
        sender = self._sender
        values = {"rendered": sender.rendered, "skipped": sender.skipped}
        disabled = self._params.disabled_cameras
        if disabled:
            return Report(Level.WARN, f"switched off: {', '.join(disabled)}", values)
        return Report(Level.OK, "ok", values)


def topic_remaps(argv: list[str]) -> tuple[str, ...]:
    """The remap rules of a command line, less those that rename nodes or namespaces."""
    rules = [value for key, value in itertools.pairwise(argv) if key in ("-r", "--remap")]
    return tuple(rule for rule in rules if not rule.startswith("__"))


def main() -> int:
    return run_node(SimCellNode)
