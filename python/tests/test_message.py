"""Messages: payloads in, payloads out."""

from __future__ import annotations

import array
import ctypes
import gc
import mmap
import struct
import threading
import weakref
from typing import TYPE_CHECKING, Any

import hostlane
import pytest

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer
    from conftest import Pair

MAX_MESSAGE = 16 * 1024 * 1024
EVERY_BYTE = bytes(range(256))


def anonymous_map() -> mmap.mmap:
    mapping = mmap.mmap(-1, 4096)
    mapping[:] = EVERY_BYTE * 16
    return mapping


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        EVERY_BYTE,
        bytearray(b"bytearray"),
        bytearray(),
        memoryview(b"a part of this")[2:6],
        memoryview(b""),
        array.array("d", [1.5, -2.0]),
        anonymous_map(),
    ],
    ids=lambda data: f"{type(data).__name__}-{len(data)}",
)
def test_any_buffer_arrives_as_its_bytes(pair: Pair, data: ReadableBuffer) -> None:
    pair.client.send(data)
    message = pair.server.recv(timeout=5)
    assert message.data == bytes(data)
    assert type(message.data) is bytes
    assert message.channel == hostlane.DATA


@pytest.mark.parametrize(
    ("data", "sent"),
    [
        ((ctypes.c_ubyte * 3)(1, 2, 3), b"\1\2\3"),
        ((ctypes.c_uint16 * 2 * 2).from_buffer_copy(b"abcdefgh"), b"abcdefgh"),
        (ctypes.c_uint16(5), struct.pack("=H", 5)),
        ((ctypes.c_ubyte * 0)(), b""),
    ],
    ids=["array", "array-of-arrays", "value", "empty"],
)
def test_what_ctypes_makes_is_a_payload(pair: Pair, data: Any, sent: bytes) -> None:
    pair.client.send(data, timeout=5)
    assert pair.server.recv(timeout=5).data == sent


def test_a_view_with_gaps_is_refused(pair: Pair) -> None:
    with pytest.raises(BufferError, match="contiguous"):
        pair.client.send(memoryview(b"abcdef")[::2])


@pytest.mark.parametrize("data", ["text", 5, None, [1, 2]])
def test_what_is_no_buffer_is_refused(pair: Pair, data: object) -> None:
    with pytest.raises(TypeError, match="bytes-like object is required"):
        pair.client.send(data)  # type: ignore[arg-type]


def test_a_pinned_buffer_is_released_after_the_call(pair: Pair) -> None:
    data = bytearray(b"grows later")
    pair.client.send(data)
    data += b"!"  # a BufferError while something still exports it
    assert pair.server.recv(timeout=5).data == b"grows later"


@pytest.mark.parametrize("size", [1, 4095, 4096, 65_535, 65_536, 1 << 20, MAX_MESSAGE])
def test_sizes_up_to_the_limit(pair: Pair, size: int) -> None:
    data = (EVERY_BYTE * (size // 256 + 1))[:size]

    def serve() -> None:
        message = pair.server.recv(timeout=20)
        message.reply(message.view(), timeout=20)

    server = threading.Thread(target=serve)
    server.start()
    assert pair.client.request(data, timeout=20).data == data
    server.join()


def test_one_byte_over_the_limit_is_not_sent(pair: Pair) -> None:
    for call in (pair.client.send, pair.client.request):
        with pytest.raises(hostlane.PayloadTooLargeError) as caught:
            call(bytes(MAX_MESSAGE + 1))
        assert caught.value.sent == "no"
    pair.client.send(b"the connection goes on")
    assert pair.server.recv(timeout=5).data == b"the connection goes on"


def test_data_is_copied_once(pair: Pair) -> None:
    pair.client.send(EVERY_BYTE)
    message = pair.server.recv(timeout=5)
    assert message.data is message.data
    assert bytes(message) is message.data
    assert len(message) == 256
    assert "channel=2" in repr(message)


def test_a_view_is_read_only_and_keeps_its_message(pair: Pair) -> None:
    pair.client.send(EVERY_BYTE)
    message = pair.server.recv(timeout=5)
    gone = weakref.ref(message)
    view = message.view()
    assert view.readonly
    assert view.nbytes == 256
    with pytest.raises(TypeError):
        view[0] = 1
    del message
    gc.collect()
    assert gone() is not None
    part = view[16:32]
    view.release()
    assert bytes(part) == EVERY_BYTE[16:32]
    part.release()
    gc.collect()
    assert gone() is None


def test_messages_outlive_their_connection(pair: Pair) -> None:
    pair.client.send(EVERY_BYTE)
    message = pair.server.recv(timeout=5)
    pair.server.close()
    pair.client.close()
    assert bytes(message.view()) == message.data == EVERY_BYTE
    with pytest.raises(hostlane.ClosedError):
        message.reply(b"too late")


@pytest.mark.parametrize("channel", [1, 2, 3, 4])
def test_a_reply_takes_the_channel_of_its_message(pair: Pair, channel: int) -> None:
    pair.client.send(b"there", channel=channel)
    pair.server.recv(timeout=5).reply(b"back")
    answer = pair.client.recv(channel, timeout=5)
    assert (answer.channel, answer.data) == (channel, b"back")


def test_a_message_cannot_be_made_or_changed(pair: Pair) -> None:
    with pytest.raises(TypeError):
        hostlane.Message()
    pair.client.send(b"")
    message = pair.server.recv(timeout=5)
    with pytest.raises(AttributeError):
        message.data = b"other"  # type: ignore[misc]
