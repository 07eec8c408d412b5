"""Nodes that others manage: configure, activate, deactivate, cleanup and shutdown as services.

`rclpy.lifecycle` serves `~/change_state`, `~/get_state` and the rest, and publishes
`~/transition_event`; here its callbacks become methods that raise our errors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lifecycle_msgs.srv import ChangeState
from rclpy.lifecycle import LifecycleNodeMixin, LifecycleState, TransitionCallbackReturn

from s3k_ros.errors import S3kError
from s3k_ros.ros.node import S3kNode

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class ManagedNode(LifecycleNodeMixin, S3kNode):
    """A node with the standard life cycle.

    A step that raises an error of ours fails: the node stays in the state that it was in, and logs
    why. The four steps below are for subclasses.
    """

    def __init__(self, name: str) -> None:
        S3kNode.__init__(self, name)
        LifecycleNodeMixin.__init__(self)
        # rclpy 7.1.6 lets the error of an impossible transition end the node.
        change = self._service_change_state.callback
        self._service_change_state.callback = _refusing(change, self)
        self._refusal: S3kError | None = None

    def configure(self) -> None:
        """Takes what the node needs; from unconfigured to inactive."""

    def activate(self) -> None:
        """Begins the work; from inactive to active."""

    def deactivate(self) -> None:
        """Pauses the work and keeps what was taken; from active to inactive."""

    def cleanup(self) -> None:
        """Lets go of everything; from any state."""

    @property
    def state(self) -> str:
        """The present state: "unconfigured", "inactive", "active" or "finalized"."""
        return str(self._state_machine.current_state[1])

    def start(self) -> None:
        """Configures and activates the node.

        Raises:
            S3kError: what a step raised.
        """
        self.trigger_configure()
        self.raise_refusal()
        self.trigger_activate()
        self.raise_refusal()

    def raise_refusal(self) -> None:
        """Raises what the last step raised, if it did."""
        if self._refusal:
            raise self._refusal

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """See `configure`."""
        return self._step(self.configure)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """See `activate`."""
        return self._step(self.activate)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """See `deactivate`."""
        return self._step(self.deactivate)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """See `cleanup`."""
        return self._step(self.cleanup)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Lets go of everything for good; the process goes on until it is ended."""
        return self._step(self.cleanup)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """After an error that nobody expected: back to unconfigured."""
        return self._step(self.cleanup)

    def _step(self, step: Callable[[], None]) -> TransitionCallbackReturn:
        self._refusal = None
        try:
            step()
        except S3kError as error:
            self._refusal = error
            self.get_logger().error(str(error))
            return FAILURE
        return SUCCESS


def _refusing(change: Callable[..., Any], node: ManagedNode) -> Callable[..., Any]:
    """The service's callback, with an impossible transition as an answer instead of an error."""

    def answer(request: ChangeState.Request, response: ChangeState.Response) -> Any:
        try:
            return change(request, response)
        except Exception as error:
            wanted = request.transition.label or request.transition.id
            node.get_logger().error(f"no transition {wanted} while {node.state}: {error}")
            response.success = False
            return response

    return answer
