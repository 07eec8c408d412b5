"""The service that loads another model while a node runs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.client import Client
from rclpy.task import Future

from s3k_ros.errors import ConfigurationError, DeviceUnavailableError, S3kError
from s3k_ros.ros.node import S3kNode
from s3k_ros.ros.resources import find_file
from s3k_ros.srv import LoadModel

# Relative to the nodes' namespace; the first one is for users and asks the second one itself.
SERVICE = "load_model"
TRIANGULATOR_SERVICE = "triangulator/load_model"
# How long another node may take to answer, seconds.
_ANSWER_S = 20.0


class ModelService:
    """Serves `LoadModel` without keeping the node's executor from its messages.

    Args:
        node: the node.
        name: of the service.
        prepare: loads the file in a thread of its own; returns the model's name and what puts it
            in place. A `S3kError` refuses the file.
        ask: another node's service of the same kind, which must take the file too, before it is
            put in place here; it is left out while nobody serves it.
    """

    def __init__(
        self,
        node: S3kNode,
        name: str,
        prepare: Callable[[Path], tuple[str, Callable[[], None]]],
        ask: str = "",
    ) -> None:
        self._node = node
        self._prepare = prepare
        # A group of its own: while the service waits, the others' callbacks go on.
        self._client: Client | None = None
        if ask:
            group = MutuallyExclusiveCallbackGroup()
            self._client = node.create_client(LoadModel, ask, callback_group=group)
        node.create_service(
            LoadModel, name, self._serve, callback_group=MutuallyExclusiveCallbackGroup()
        )

    async def _serve(
        self, request: LoadModel.Request, response: LoadModel.Response
    ) -> LoadModel.Response:
        try:
            name, use = await self._in_thread(lambda: self._prepare(find_file(request.path)))
            await self._ask_other(request, name)
        except S3kError as error:
            response.message = str(error)
            self._node.get_logger().error(f"model {request.path} refused: {error}")
            return response
        use()
        self._node.get_logger().info(f"model {name} in use")
        response.success, response.model = True, name
        return response

    async def _in_thread(self, work: Callable[[], Any]) -> Any:
        future = Future()

        def run() -> None:
            try:
                future.set_result(work())
            except BaseException as error:
                future.set_exception(error)
            if self._node.executor is not None:
                self._node.executor.wake()

        threading.Thread(target=run, name="load model", daemon=True).start()
        return await future

    async def _ask_other(self, request: LoadModel.Request, name: str) -> None:
        """The other node's consent.

        Raises:
            ConfigurationError: it refuses, or calls the model otherwise.
            DeviceUnavailableError: it does not answer.
        """
        if self._client is None or not self._client.service_is_ready():
            return
        other = self._client.srv_name
        future = self._client.call_async(request)
        patience = threading.Timer(_ANSWER_S, future.cancel)
        patience.daemon = True
        patience.start()
        answer = await future
        patience.cancel()
        if answer is None:
            raise DeviceUnavailableError(f"{other} did not answer within {_ANSWER_S:g} s")
        if not answer.success:
            raise ConfigurationError(f"{other}: {answer.message}")
        if answer.model != name:
            raise ConfigurationError(
                f"{other} found another file at this path: {answer.model}, here it is {name}"
            )
