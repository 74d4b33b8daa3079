"""Level 1 on real sockets, with manners: `Level1Client` and `Level1Server` put a socket under the engine of
`engine1.py`; one thread at a time. `raw1.py` has a connection without any."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Self

from engine1 import Engine
from engine1_state import Call, Delivered, Done
from level0 import DEFAULT_CHANNELS
from raw1 import CHUNK, RawLevel1
from wire import TIMEOUT, Wire

LAST_WORDS = 1.0  # seconds that the reason for an end may take to leave


class Ended(Exception):
    """The connection is over; `names` says why."""

    def __init__(self, names: Sequence[str], text: str = "") -> None:
        super().__init__(f"{' or '.join(names)}: {text}")
        self.names = tuple(names)


class CallFailed(Exception):
    def __init__(self, done: Done) -> None:
        super().__init__(str(done))
        self.done = done
        self.name = done.outcome


class Level1Peer:
    """A connection with the engine behind it; every wait has a deadline and fails by TimeoutError."""

    def __init__(self, sock: socket.socket, engine: Engine) -> None:
        self.sock, self.engine = sock, engine
        self.engine.unread_pongs = lambda: 0 if self._writable() else len(self.engine.out) // 24
        self.sock.setblocking(False)
        self.hung_up = False
        self.leaves_by: float | None = None
        self.clock = time.monotonic()
        self.ops = 0

    def _writable(self) -> bool:
        return bool(select.select([], [self.sock], [], 0)[1])

    def _write(self) -> None:
        # Asked of the socket itself: `select` calls one writable only while most of its buffer is free.
        try:
            while self.engine.out:
                del self.engine.out[: self.sock.send(self.engine.out[:CHUNK])]
        except BlockingIOError:
            pass
        except (BrokenPipeError, ConnectionResetError):
            self.engine.out.clear()

    def step(self, timeout: float) -> None:
        """Writes and reads what can be written and read, waiting for it no longer than `timeout`."""
        engine = self.engine
        self._write()
        if engine.ended:
            self._leave(timeout)
            return
        readable, _, _ = select.select([self.sock], [self.sock] if engine.out else [], [], max(0.0, timeout))
        now = time.monotonic()
        engine.clock((now - self.clock) * 1000)
        self.clock = now
        if readable and not engine.ended:
            try:
                data = self.sock.recv(CHUNK)
            except ConnectionResetError:
                data = b""
            if data:
                engine.feed(data)
            else:
                self.hung_up = True
                engine.eof()
        self._write()
        if engine.ended:
            self._leave(0.0)

    def _leave(self, timeout: float) -> None:
        """After the end nothing is read: whoever does not read the last words could go on sending for ever. They
        have a bound to leave in, then the stream ends without them."""
        out, now = self.engine.out, time.monotonic()
        if self.leaves_by is None:
            self.leaves_by = now + LAST_WORDS
        if out and now < self.leaves_by:
            select.select([], [self.sock], [], max(0.0, min(timeout, self.leaves_by - now)))
            self._write()
        if time.monotonic() >= self.leaves_by:
            out.clear()
        if not out and not self.hung_up:
            self.sock.shutdown(socket.SHUT_WR)
            self.hung_up = True

    def until(self, condition: Callable[[], Any], timeout: float = TIMEOUT) -> Any:
        deadline = time.monotonic() + timeout
        while not (value := condition()):
            if self.engine.ended and not self.engine.out:
                raise Ended(self.engine.ended, self.engine.close_text)
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("nothing of what was expected came before the deadline")
            self.step(min(left, 0.05))
        return value

    def flush(self, timeout: float = TIMEOUT) -> None:
        """Until everything was written, or the other side is gone."""
        deadline = time.monotonic() + timeout
        self._write()
        while self.engine.out:
            if time.monotonic() > deadline:
                raise TimeoutError("not written before the deadline")
            self.step(0.05)

    def handshake(self, timeout: float = TIMEOUT) -> Self:
        self.until(self.engine.is_open, timeout)
        self.flush(timeout)
        return self

    def _op(self) -> int:
        self.ops += 1
        return self.ops

    def result(self, op: int, timeout: float = TIMEOUT) -> Done:
        def find() -> Done | None:
            return next((d for d in self.engine.done if d.op == op and d.outcome != "opened"), None)

        done: Done = self.until(find, timeout)
        self.engine.done.remove(done)
        return done

    def send(self, channel: int, payload: bytes, timeout: float = TIMEOUT, **extensions: Any) -> None:
        """Returns when the message has left; waits for credit."""
        op = self._op()
        self.engine.send(op, channel, payload, **extensions)
        if (done := self.result(op, timeout)).outcome != "sent":
            raise CallFailed(done)
        self.flush(timeout)

    def begin(self, payload: bytes, channel: int = 1, **options: Any) -> int:
        """Starts a call; `wait` ends it."""
        op = self._op()
        self.engine.call(op, payload, channel, **options)
        self.flush()
        return op

    def wait(self, op: int, timeout: float = TIMEOUT) -> bytes:
        done = self.result(op, timeout)
        if done.outcome != "reply":
            raise CallFailed(done)
        return done.payload

    def request(self, payload: bytes, timeout: float = TIMEOUT, channel: int = 1) -> bytes:
        return self.wait(self.begin(payload, channel), timeout)

    def recv(self, timeout: float = TIMEOUT) -> Delivered:
        taken: Delivered = self.until(self.engine.recv, timeout)
        if self.engine.out:
            self.step(0)  # the credit that taking it gave back
        return taken

    def reply(self, call: Delivered, payload: bytes, status: int | None = None) -> None:
        assert call.call is not None
        self.engine.reply(self._op(), call.call, payload, status)
        self.flush()

    def item(self, call: Call, payload: bytes, fin: bool = False) -> None:
        self.engine.item(self._op(), call, payload, fin)
        self.flush()

    def recv_item(self, call: Call, timeout: float = TIMEOUT) -> bytes | None:
        """The next message of a stream, or None when there will be none."""
        found: list[bytes] = []

        def look() -> bool:
            if (item := self.engine.recv_item(call)) is not None:
                found.append(item)
            return bool(found) or call.fin_in

        self.until(look, timeout)
        if self.engine.out:
            self.step(0)
        return found[0] if found else None

    def ping(self, timeout: float = TIMEOUT) -> float:
        began, op = time.monotonic(), self._op()
        self.engine.ping(op)
        self.result(op, timeout)
        return time.monotonic() - began

    def drain(self, timeout: float = TIMEOUT) -> None:
        op = self._op()
        self.engine.drain(op)
        done = self.result(op, timeout)
        self.flush()
        self.close()
        if done.outcome != "drained":
            raise CallFailed(done)

    def close(self) -> None:
        """Says CLOSE if it still can, and ends the stream. Idempotent."""
        if self.sock.fileno() < 0:
            return
        self.engine.close()
        with contextlib.suppress(TimeoutError):  # the other side does not read; the end of the stream tells it
            self.flush(1.0)
        self.sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Level1Client(Level1Peer):
    def __init__(
        self, path: str, channels: Sequence[int] = DEFAULT_CHANNELS, timeout: float = TIMEOUT, **options: Any
    ) -> None:
        sock = Wire.connect(path, timeout).sock
        super().__init__(sock, Engine(True, channels, **options))
        try:
            self.handshake(timeout)
        except BaseException:
            sock.close()
            raise


class Level1Server:
    """Accepts and shakes hands in one step; `options` go to the engine of each connection."""

    def __init__(self, path: str, channels: Sequence[int] = DEFAULT_CHANNELS, **options: Any) -> None:
        self.path, self.channels, self.options = path, channels, options
        self.accepted = 0
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.bind(path)
        os.chmod(path, 0o600)
        self.sock.listen(128)

    def take(self, timeout: float = TIMEOUT) -> socket.socket:
        self.sock.settimeout(timeout)
        sock, _ = self.sock.accept()
        self.accepted += 1
        return sock

    def accept(self, timeout: float = TIMEOUT) -> Level1Peer:
        sock = self.take(timeout)
        peer = Level1Peer(sock, Engine(False, self.channels, peer_id=f"peer-{self.accepted}", **self.options))
        try:
            return peer.handshake(timeout)
        except TimeoutError:
            peer.engine.close("timeout")
            peer.close()
            raise
        except BaseException:
            peer.close()
            raise

    def accept_raw(self, timeout: float = TIMEOUT, **members: Any) -> RawLevel1:
        """Takes a connector by hand: its request is read, the response and READY are sent."""
        raw = RawLevel1(self.take(timeout), connector=False)
        try:
            raw.answer(self.channels, **members)
        except BaseException:
            raw.close()
            raise
        return raw

    def close(self) -> None:
        self.sock.close()
        os.unlink(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def echo(peer: Level1Peer, timeout: float = TIMEOUT, stop: threading.Event | None = None) -> tuple[str, ...]:
    """Answers every call and sends every message back; returns why the connection ended. Without `stop` a
    silence of `timeout` is an error, with it the end of waiting is up to whoever sets it."""
    with peer:
        try:
            while stop is None or not stop.is_set():
                try:
                    taken = peer.recv(timeout if stop is None else 0.1)
                except TimeoutError:
                    if stop is None:
                        raise
                    continue
                if taken.call is None:
                    peer.send(taken.channel, taken.payload)
                else:
                    peer.reply(taken, taken.payload)
            return ("closed",)
        except Ended as end:
            return end.names
        except CallFailed as failure:
            return (failure.name,)


class EchoServer:
    """What `hostlane echo` is, of the oracle's own making: any number of clients, a thread for each."""

    def __init__(self, path: str, handshake: float = TIMEOUT, **options: Any) -> None:
        self.path = path
        self.server = Level1Server(path, **options)
        self.handshake, self.ended = handshake, threading.Event()
        self.threads = [threading.Thread(target=self._listen, daemon=True)]
        self.threads[0].start()

    def _listen(self) -> None:
        while not self.ended.is_set():
            try:
                sock = self.server.take(0.05)
            except TimeoutError:
                continue
            thread = threading.Thread(target=self._serve, args=[sock], daemon=True)
            self.threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        with Level1Peer(sock, Engine(False, self.server.channels, **self.server.options)) as peer:
            try:
                peer.handshake(self.handshake)
                echo(peer, stop=self.ended)
            except TimeoutError:  # a handshake that takes too long, a client that does not read
                peer.engine.close("timeout")
            except Ended:
                pass  # refused; the client was told why

    def probe(self) -> float:
        return probe(self.path)

    def alive(self) -> bool:
        return self.threads[0].is_alive()

    def close(self) -> None:
        self.ended.set()
        for thread in self.threads:
            thread.join(5.0)
        self.server.close()


def probe(path: str, timeout: float = 2.0) -> float:
    """An honest level-1 client connects, calls and leaves; returns the seconds it took."""
    began = time.monotonic()
    with Level1Client(path, timeout=timeout) as client:
        assert client.engine.level == 1
        assert client.request(b"are you there?", timeout) == b"are you there?"
    return time.monotonic() - began
