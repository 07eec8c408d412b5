"""The service that loads another model while a node runs."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from pathlib import Path

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.client import Client
from rclpy.task import Future

from s3k_ros.errors import ConfigurationError, DeviceUnavailableError, S3kError
from s3k_ros.perception.description import ModelDescription
from s3k_ros.ros.node import S3kNode
from s3k_ros.ros.resources import find_file
from s3k_ros.srv import LoadModel

# How long another node may take to answer, seconds.
_ANSWER_S = 20.0


@dataclasses.dataclass(frozen=True, eq=False)
class PreparedModel:
    """A model that is ready.

    Attributes:
        name: what it is called in messages.
        use: puts it in place, between two sets.
        description: what its file says.
    """

    name: str
    use: Callable[[], None]
    description: ModelDescription


class ModelService:
    """Serves `LoadModel` without keeping the node's executor from its messages.

    Args:
        node: the node.
        name: of the service.
        prepare: loads the file, in a thread of its own. A `S3kError` refuses it.
        ask: another node's service of the same kind, which must take the file too, before it is
            put in place here; it is left out while nobody serves it.
    """

    def __init__(
        self,
        node: S3kNode,
        name: str,
        prepare: Callable[[Path], PreparedModel],
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
            model = await self._in_thread(lambda: self._prepare(find_file(request.path)))
            await self._ask_other(request, model.name)
        except S3kError as error:
            response.message = str(error)
            self._node.get_logger().error(f"model {request.path} refused: {error}")
            return response
        model.use()
        self._node.get_logger().info(f"model {model.name} in use")
        response.success, response.model = True, model.name
        return response

    async def _in_thread(self, work: Callable[[], PreparedModel]) -> PreparedModel:
        future = Future()

        def run() -> None:
            try:
                future.set_result(work())
            except S3kError as error:
                future.set_exception(error)
            except Exception as error:  # whatever the file does to the libraries: the node goes on
                future.set_exception(ConfigurationError(f"{type(error).__name__}: {error}"))
            if self._node.executor is not None:
                self._node.executor.wake()

        threading.Thread(target=run, name="load model", daemon=True).start()
        model: PreparedModel = await future
        return model

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
