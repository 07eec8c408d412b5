"""A camera rig in a node: sets, images, diagnostics, live parameters, life cycle."""

from __future__ import annotations

import threading
from collections.abc import Callable

from std_srvs.srv import SetBool

from s3k_ros.cameras.port import CameraRig, EventKind, FrameSet
from s3k_ros.errors import S3kError
from s3k_ros.ros.node import S3kNode
from s3k_ros.ros.rig_parameters import LiveSettings
from s3k_ros.ros.rig_report import RigReport

# How long the thread waits for a set before it looks whether it shall end.
_WAIT_S = 0.1
_EVENTS_S = 0.2
_GOOD = (
    EventKind.CAMERA_CONNECTED,
    EventKind.CAMERA_HEARD,
    EventKind.TRIGGER_RESUMED,
    EventKind.CLOCK_TOGETHER,
)


class RigDriver:
    """Runs a rig for a node and hands on its sets.

    Args:
        node: the node.
        rig: not yet open; the driver opens, starts and closes it.
        on_set: called with every set from the driver's thread.
        switch: what `rig/set_active` does with its argument, for nodes that keep a state of their
            own; None: it activates and deactivates.
    """

    def __init__(
        self,
        node: S3kNode,
        rig: CameraRig,
        on_set: Callable[[FrameSet], None],
        switch: Callable[[bool], None] | None = None,
    ) -> None:
        self._node = node
        self._rig = rig
        self._on_set = on_set
        self._switch = switch or self._activate
        self._running = threading.Event()
        self._ended = False
        self._report = RigReport(node, rig)
        self._settings = LiveSettings(node, rig)
        node.create_timer(_EVENTS_S, self._tell_events)
        node.create_service(SetBool, "rig/set_active", self._set_active)
        self._thread = threading.Thread(target=self._run, name="rig", daemon=True)

    def start(self) -> None:
        """Opens the rig and begins to take images; errors as of `open`."""
        self.open()
        self.activate()

    def open(self) -> None:
        """Opens the rig and makes the cameras' parameters known.

        Raises:
            ConfigurationError: as `CameraRig.open`, or a camera cannot take a parameter's value.
            DeviceUnavailableError: as `CameraRig.open`.
        """
        self._rig.open()
        try:
            self._settings.declare()
        except S3kError:
            self._rig.close()
            raise
        self._report.is_open = True

    def activate(self) -> None:
        """Begins to take images."""
        self._activate(True)

    def deactivate(self) -> None:
        """Takes no more images; the cameras stay open and claimed."""
        self._activate(False)

    def release(self) -> None:
        """Lets go of the cameras; the rig may be opened again."""
        self._activate(False)
        self._report.is_open = False
        self._rig.close()

    def close(self) -> None:
        """Ends the thread and lets go of the cameras."""
        self._ended = True
        self._running.set()
        if self._thread.is_alive():
            self._thread.join(2.0)
        self._rig.close()

    def _activate(self, active: bool) -> None:
        if active:
            self._rig.start()
            self._running.set()
            if not self._thread.is_alive():
                self._thread.start()
        else:
            self._running.clear()
            self._rig.stop()
        self._report.active = active

    def _run(self) -> None:
        while not self._ended:
            self._running.wait()
            try:
                frames = self._rig.next_set(_WAIT_S)
                if frames is not None and not self._ended:
                    self._on_set(frames)
            except BaseException as error:
                self._node.fail(error)
                return

    def _set_active(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        try:
            self._switch(request.data)
        except S3kError as error:
            response.message = str(error)
            return response
        response.success = True
        response.message = "takes images" if request.data else "stopped; the cameras stay open"
        return response

    def _tell_events(self) -> None:
        for event in self._rig.take_events():
            text = f"{event.camera}: {event.text}" if event.camera else event.text
            if event.kind in _GOOD:
                self._node.get_logger().info(text)
                if event.camera:
                    self._settings.refresh(event.camera)
            else:
                self._node.get_logger().warning(text)
