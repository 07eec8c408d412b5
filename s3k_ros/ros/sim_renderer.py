"""The cameras of `sim_cell`: a node in a process of its own, which `sim_cell` starts.

Images never cross to the physics' process; joint positions come over a pipe, see
`s3k_ros.simulation.renderer`.
"""

from __future__ import annotations

import dataclasses
import os
import threading
from multiprocessing.connection import Connection

import rclpy
from rclpy.executors import ExternalShutdownException
from sensor_msgs.msg import CameraInfo, Image

from s3k_ros.ros import conversions, qos
from s3k_ros.ros.diagnostics import Report
from s3k_ros.ros.node import S3kNode
from s3k_ros.simulation.renderer import Exposure, ExposureRenderer, RendererSetup
from s3k_ros.simulation.rig import SCENE_VIEW

NODE = "sim_renderer"
# The view of the whole cell is for people, and its time is taken from the cameras.
SCENE_EVERY = 2


@dataclasses.dataclass(frozen=True)
class RendererProcess:
    """What the renderer's process is told at its start; it must survive pickling."""

    setup: RendererSetup
    niceness: int
    camera_info: bool
    namespace: str
    remaps: tuple[str, ...]


class SimRendererNode(S3kNode):
    """Renders what the physics exposes and publishes images and camera_info.

    Args:
        config: of the process.
        connection: to the physics.
    """

    def __init__(self, config: RendererProcess, connection: Connection) -> None:
        rules = [word for rule in config.remaps for word in ("-r", rule)]
        super().__init__(
            NODE,
            alone=False,  # sim_cell, its parent, has looked
            namespace=config.namespace,
            cli_args=["--ros-args", *rules] if rules else [],
            use_global_arguments=False,
        )
        self._config, self._connection = config, connection
        self._cameras = {camera.name: camera for camera in config.setup.cameras}
        self._images = {
            name: self.advertise(Image, f"{name}/image_raw", qos.images(), exclusive=True)
            for name in self._cameras
        }
        self._infos = {
            name: self.advertise(CameraInfo, f"{name}/camera_info", qos.images())
            for name in self._cameras
            if config.camera_info
        }
        self._rendered = 0
        self.diagnostics.add("images", self._report)
        self._thread = threading.Thread(target=self._run, name="renderer", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Waits for the rendering thread."""
        self._thread.join(2.0)

    def _run(self) -> None:
        try:
            renderer = ExposureRenderer(self._config.setup)
            self._connection.send(0)
            while self.context.ok():
                if not self._connection.poll(0.2):
                    continue
                exposure = self._connection.recv()
                self._publish(renderer, exposure)
                self._rendered += 1
                self._connection.send(self._rendered)
        except (EOFError, BrokenPipeError, ConnectionResetError):
            self.context.try_shutdown()  # the physics has ended, so the cameras end
        except BaseException as error:
            self.fail(error)

    def _publish(self, renderer: ExposureRenderer, exposure: Exposure) -> None:
        stamp_ns = round(exposure.stamp * 1e9)
        for name in exposure.cameras:
            if name in self._infos:
                header = conversions.header(stamp_ns, f"{name}_optical")
                info = conversions.camera_info(self._cameras[name], header)
                self._infos[name].publish(info)
        names = [
            n for n in exposure.cameras if n != SCENE_VIEW or self._rendered % SCENE_EVERY == 0
        ]
        wanted = [n for n in names if self._images[n].get_subscription_count() > 0]
        if wanted:
            renderer.show(exposure)
        for name in wanted:
            header = conversions.header(stamp_ns, f"{name}_optical")
            message = conversions.image_to_message(renderer.image(name), header)
            self._images[name].publish(message)

    def _report(self) -> Report:
        return Report(message=f"{self._rendered} sets", values={"rendered": self._rendered})


def run_renderer(config: RendererProcess, connection: Connection) -> None:
    """Entry point of the process; ends when the other end of the pipe closes."""
    os.setpriority(os.PRIO_PROCESS, 0, config.niceness)
    rclpy.init(args=[], signal_handler_options=rclpy.SignalHandlerOptions.NO)
    node = SimRendererNode(config, connection)
    try:
        rclpy.spin(node)
    except ExternalShutdownException:
        pass
    finally:
        node.close()
        rclpy.try_shutdown()
    if node.failure is not None:
        raise node.failure
