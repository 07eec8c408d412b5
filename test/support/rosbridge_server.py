"""A rosbridge server: its JSON protocol (version 2.0, ROS 1) over a real websocket."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from autobahn.asyncio.websocket import WebSocketServerFactory, WebSocketServerProtocol

from support.ros1_types import DEFINITIONS, Refused, populated

_OPS = (
    "advertise",
    "unadvertise",
    "publish",
    "subscribe",
    "unsubscribe",
    "call_service",
    "set_level",
)


class RosbridgeServer:
    """Runs in a thread of its own; `call` runs a function in it.

    Attributes:
        heard: topic -> messages that clients published, filled up as rosbridge does.
        errors: what was refused, as it was told to the client.
        clock: the ROS 1 side's time, s.
        frozen: nothing comes or goes, and nobody is told: an unplugged cable.
    """

    def __init__(self) -> None:
        self.heard: dict[str, list[dict[str, Any]]] = {}
        self.errors: list[str] = []
        self.clock: Callable[[], float] = time.time
        self.frozen = False
        self.port = _free_port()
        self.connections: set[_Connection] = set()
        self._listeners: dict[str, list[Callable[[dict[str, Any]], None]]] = {}
        self.loop = asyncio.new_event_loop()
        self._factory = WebSocketServerFactory(loop=self.loop)
        self._factory.protocol = _Connection
        self._factory.bridge = self
        self._server: asyncio.AbstractServer | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self.listen()

    # -- for tests -----------------------------------------------------------------------------

    def on(self, topic: str, listener: Callable[[dict[str, Any]], None]) -> None:
        """A subscriber on the ROS 1 side, called in the server's thread."""
        self._listeners.setdefault(topic, []).append(listener)

    def publish(self, topic: str, kind: str, message: dict[str, Any]) -> None:
        """A publisher on the ROS 1 side; only from the server's thread."""
        message = populated(message, kind, stamp(self.clock()))
        for connection in list(self.connections):
            connection.forward(topic, message)

    def call(self, function: Callable[[], Any]) -> Any:
        """Runs a function in the server's thread; its result."""

        async def run() -> Any:
            return function()

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(10.0)

    def send_raw(self, payload: bytes, binary: bool = False) -> None:
        """Sends what need not be of the protocol."""
        self.call(lambda: [c.sendMessage(payload, binary) for c in self.connections])

    def cut(self) -> None:
        """The connections end, and no new ones are taken."""
        self.call(self._cut)

    def listen(self) -> None:
        """Takes connections (again)."""
        asyncio.run_coroutine_threadsafe(self._listen(), self.loop).result(10.0)

    def close(self) -> None:
        self.cut()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5.0)

    # -- the server ----------------------------------------------------------------------------

    def take(self, topic: str, message: dict[str, Any]) -> None:
        self.heard.setdefault(topic, []).append(message)
        for listener in self._listeners.get(topic, ()):
            listener(message)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    async def _listen(self) -> None:
        self._server = await self.loop.create_server(self._factory, "127.0.0.1", self.port)

    def _cut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in list(self.connections):
            connection.dropConnection(abort=True)


class _Connection(WebSocketServerProtocol):
    """One client, with its own topics."""

    def onOpen(self) -> None:
        self._bridge: RosbridgeServer = self.factory.bridge
        self._advertised: dict[str, str] = {}
        self._subscribed: dict[str, float] = {}
        self._forwarded: dict[str, float] = {}
        self._bridge.connections.add(self)

    def onClose(self, clean: bool, code: int, reason: str) -> None:
        if hasattr(self, "_bridge"):
            self._bridge.connections.discard(self)

    def onMessage(self, payload: bytes, binary: bool) -> None:
        if self._bridge.frozen:
            return
        message = json.loads(payload)
        try:
            if message["op"] not in _OPS:
                raise Refused(f"Unknown operation: {message['op']}.")
            getattr(self, f"_{message['op']}")(message)
        except Refused as error:
            self._bridge.errors.append(f"{message['op']}: {error}")
            self._send(op="status", level="error", msg=self._bridge.errors[-1])

    def forward(self, topic: str, message: dict[str, Any]) -> None:
        now = time.monotonic()
        if topic not in self._subscribed or self._bridge.frozen:
            return
        if now - self._forwarded.get(topic, 0.0) < self._subscribed[topic]:
            return
        self._forwarded[topic] = now
        self._send(op="publish", topic=topic, msg=message)

    def _send(self, **message: Any) -> None:
        self.sendMessage(json.dumps(message).encode())

    def _advertise(self, message: dict[str, Any]) -> None:
        if message["type"] not in DEFINITIONS:
            raise Refused(f"Unable to import {message['type']}")
        self._advertised[message["topic"]] = message["type"]

    def _unadvertise(self, message: dict[str, Any]) -> None:
        self._advertised.pop(message["topic"], None)

    def _publish(self, message: dict[str, Any]) -> None:
        topic = message["topic"]
        if topic not in self._advertised:
            raise Refused(f"Cannot infer topic type for topic {topic}")
        content = populated(message["msg"], self._advertised[topic], stamp(self._bridge.clock()))
        self._bridge.take(topic, content)

    def _subscribe(self, message: dict[str, Any]) -> None:
        if message.get("type") not in DEFINITIONS:
            raise Refused(f"Unable to import {message.get('type')}")
        self._subscribed[message["topic"]] = 1e-3 * message.get("throttle_rate", 0)

    def _unsubscribe(self, message: dict[str, Any]) -> None:
        self._subscribed.pop(message["topic"], None)

    def _call_service(self, message: dict[str, Any]) -> None:
        answer = {"op": "service_response", "service": message["service"], "result": False}
        self._send(**answer, id=message.get("id"), values="no such service")

    def _set_level(self, message: dict[str, Any]) -> None:
        pass


def stamp(time_s: float) -> dict[str, int]:
    """A time of ROS 1."""
    return {"secs": int(time_s), "nsecs": int(time_s % 1.0 * 1e9)}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
