"""A connection to a rosbridge server that mends itself; nothing here waits.

roslibpy carries it: its protocol, its connection and its way to connect again, on its asyncio loop
in a thread. Its `Topic` is not used, on purpose: what is published while there is no connection it
keeps and sends after the next one, and a trajectory that starts seconds late is the last thing
that an arm needs. It would also subscribe again only a second after a connection.
"""

from __future__ import annotations

import asyncio
import dataclasses
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from roslibpy import Message
from roslibpy.comm.comm_asyncio import AsyncioRosBridgeClientFactory, AsyncioRosBridgeProtocol

_CONNECT_TIMEOUT_S = 3.0
# A peer that was unplugged answers no ping; TCP alone would notice after minutes.
_PING_S = 1.0
_CLOSE_TIMEOUT_S = 1.0


@dataclasses.dataclass(frozen=True)
class Subscription:
    """A topic of the ROS 1 side.

    Attributes:
        topic, kind: its name and type.
        period_s: least time between messages; 0: all of them.
        newest: only the newest message counts, and it may wait for the next `drain`; so may one
            that equals the one before it.
    """

    topic: str
    kind: str
    period_s: float = 0.0
    newest: bool = False


@dataclasses.dataclass(frozen=True)
class Event:
    """What came over the link: a message of a topic, or "open", "closed" or "status".

    Attributes:
        kind: "message", "open", "closed" or "status".
        topic: of a message; of "status" the level.
        content: a message's JSON object; of "status" the text.
        time: s, monotonic, of receipt.
    """

    kind: str
    topic: str = ""
    content: Any = None
    time: float = 0.0


class RosbridgeLink:
    """Topics of a rosbridge server.

    Args:
        host, port: of the server.
        subscriptions: what to listen to.
        advertised: topics to publish on, with their types.
        longest_pause_s: between attempts to connect.
        wake: called from the link's thread when `drain` has something that should not wait.

    Attributes:
        malformed: messages that no one could read.
        unreadable: the newest reason.
        heard_at, opened_at: s, monotonic, of the newest message and of the connection.
    """

    def __init__(
        self,
        host: str,
        port: int,
        subscriptions: Iterable[Subscription],
        advertised: dict[str, str],
        longest_pause_s: float,
        wake: Callable[[], None],
    ) -> None:
        self.malformed, self.unreadable = 0, ""
        self.heard_at = self.opened_at = 0.0
        self._subscriptions = {s.topic: s for s in subscriptions}
        self._advertised = dict(advertised)
        self._wake = wake
        self._lock = threading.Lock()
        self._events: deque[Event] = deque()
        self._newest: dict[str, Event] = {}
        self._before: dict[str, Any] = {}
        self._protocol: _Protocol | None = None
        self._closed = threading.Event()
        self._factory = _Factory(AsyncioRosBridgeClientFactory.create_url(host, port), self)
        self._factory.initialDelay = min(0.2, longest_pause_s)
        self._factory.maxDelay = longest_pause_s
        self._factory.connect()

    @property
    def connected(self) -> bool:
        """Whether there is a connection to the server; of the robot this says nothing."""
        return self._protocol is not None

    def publish(self, topic: str, message: dict[str, Any]) -> bool:
        """Publishes now, or not at all: False without a connection."""
        protocol = self._protocol
        if protocol is None:
            return False
        protocol.send_ros_message(Message({"op": "publish", "topic": topic, "msg": message}))
        return True

    def drain(self) -> list[Event]:
        """What came since the last call: newest of the streams first, then the rest in order."""
        with self._lock:
            events = [*self._newest.values(), *self._events]
            self._newest.clear()
            self._events.clear()
        return events

    def drop(self) -> None:
        """Drops a connection on which nothing comes any more; another one is tried at once."""
        protocol = self._protocol
        if protocol is not None:
            self._in_loop(lambda: protocol.dropConnection(abort=True))

    def close(self) -> None:
        """Ends the connection once everything published has gone out."""
        protocol = self._protocol
        self._factory._stop = True  # no further attempt to connect
        if protocol is None:
            return
        protocol.send_close()
        self._closed.wait(_CLOSE_TIMEOUT_S)

    # -- called in the link's thread -----------------------------------------------------------

    def opened(self, protocol: _Protocol) -> None:
        """A connection is there: the server knows nothing of earlier ones."""
        for topic, kind in self._advertised.items():
            protocol.send_ros_message(Message({"op": "advertise", "topic": topic, "type": kind}))
        for s in self._subscriptions.values():
            order = {"op": "subscribe", "topic": s.topic, "type": s.kind}
            if s.period_s:
                # Without a queue, the bridge drops what comes within the period.
                order |= {"throttle_rate": round(1e3 * s.period_s), "queue_length": 1}
            protocol.send_ros_message(Message(order))
        self._closed.clear()
        self.opened_at = time.monotonic()
        self._protocol = protocol
        self._put(Event("open", time=time.monotonic()))

    def lost(self, protocol: _Protocol) -> None:
        """A connection, or an attempt at one, is over."""
        if self._protocol is protocol:
            self._protocol = None
            self._put(Event("closed", time=time.monotonic()))
            self._closed.set()

    def received(self, topic: str, content: Any) -> None:
        """A message of a topic."""
        self.heard_at = now = time.monotonic()
        subscription = self._subscriptions.get(topic)
        if subscription is None:
            return
        waits = subscription.newest or content == self._before.get(topic)
        self._before[topic] = content
        self._put(Event("message", topic, content, now), newest=subscription.newest, waits=waits)

    def status(self, message: Any) -> None:
        """The server complains: that is how it says that a message or a type was not accepted."""
        text = f"{message.get('msg')}"
        self._put(Event("status", f"{message.get('level')}", text, time.monotonic()))

    def refuse(self, reason: str) -> None:
        """Something came that is no message of the protocol."""
        self.malformed, self.unreadable = self.malformed + 1, reason
        self._wake()

    def _put(self, event: Event, newest: bool = False, waits: bool = False) -> None:
        with self._lock:
            if newest:
                self._newest[event.topic] = event
            else:
                self._events.append(event)
        if not waits:
            self._wake()

    def _in_loop(self, call: Callable[[], None]) -> None:
        loop = self._factory.manager.loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(call)


class _Protocol(AsyncioRosBridgeProtocol):
    """roslibpy's protocol, without a traceback for each thing that it does not know."""

    factory: _Factory

    def onOpen(self) -> None:
        super().onOpen()
        self.factory.link.opened(self)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        try:
            self._message_handlers["publish"] = self._on_publish
            self._message_handlers["status"] = self.factory.link.status
            self.on_message(payload)
        except Exception as error:
            self.factory.link.refuse(f"{type(error).__name__}: {error}")

    def onClose(self, wasClean: bool, code: int, reason: str) -> None:
        self.factory.link.lost(self)
        super().onClose(wasClean, code, reason)

    def _on_publish(self, message: Any) -> None:
        self.factory.link.received(str(message["topic"]), message["msg"])


class _Factory(AsyncioRosBridgeClientFactory):
    """roslibpy's factory, with pings and a limit on the time that a connection may take."""

    protocol = _Protocol

    def __init__(self, url: str, link: RosbridgeLink) -> None:
        self.link = link
        super().__init__(url)
        self.setProtocolOptions(
            openHandshakeTimeout=_CONNECT_TIMEOUT_S,
            closeHandshakeTimeout=_CLOSE_TIMEOUT_S,
            autoPingInterval=_PING_S,
            autoPingTimeout=2 * _PING_S,
            tcpNoDelay=True,
        )

    async def _connect_async(self) -> None:
        """As roslibpy's, but a host that swallows packets holds it up for seconds, not minutes."""
        loop = asyncio.get_running_loop()
        try:
            attempt = loop.create_connection(self, self.host, self.port)
            await asyncio.wait_for(attempt, _CONNECT_TIMEOUT_S)
        except (OSError, TimeoutError):
            self._schedule_reconnect()
