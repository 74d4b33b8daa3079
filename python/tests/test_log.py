"""The log: nothing a program did not ask for, and everything it did."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from typing import TYPE_CHECKING, Any

import hostlane
import pytest
from hostlane import aio
from script import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import ThreadPoolExecutor

    from conftest import Pair
    from script import Script

WHEN = 1_577_836_800  # 2020


class Sink(logging.Handler):
    """Keeps the records, and who told them."""

    def __init__(self) -> None:
        super().__init__()
        # Their attributes are what is tested.
        self.records: list[Any] = []
        self.threads: set[int] = set()

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        self.threads.add(threading.get_ident())

    def names(self) -> list[str]:
        return [record.event for record in self.records]


@pytest.fixture
def sink() -> Iterator[Sink]:
    logger = logging.getLogger("hostlane")
    sink, level = Sink(), logger.level
    logger.addHandler(sink)
    logger.setLevel(logging.DEBUG)
    hostlane.log.drain()
    sink.records.clear()
    yield sink
    hostlane.log.disable()
    hostlane.log.drain()
    logger.removeHandler(sink)
    logger.setLevel(level)


def test_silent_by_default(sink: Sink, pair: Pair) -> None:
    pair.client.close()
    with pytest.raises(hostlane.PeerClosedError):
        pair.server.recv(timeout=5)
    assert hostlane.log.drain() == 0
    assert sink.records == []


def test_events_come_with_their_facts_on_the_calling_thread(
    sink: Sink, listener: hostlane.Listener, pool: ThreadPoolExecutor
) -> None:
    hostlane.log.enable(logging.INFO)
    accepting = pool.submit(listener.accept, 10)
    client = hostlane.connect(listener.address)
    with accepting.result() as server:
        name = client.info().peer_id
        client.close()
        with pytest.raises(hostlane.PeerClosedError):
            server.recv(timeout=5)
    hostlane.log.drain()
    assert sorted(sink.names()) == ["connected", "connected", "ended", "ended"]
    for record in sink.records:
        assert (record.name, record.levelno) == ("hostlane", logging.INFO)
        assert record.peer == name
        assert record.address == listener.address
        assert WHEN < record.created <= time.time() + 1
        assert record.event in record.getMessage()
        assert record.address in record.getMessage()
    codes = {record.code for record in sink.records}
    assert codes == {None, "closed", "peer_closed"}


def test_a_level_of_ones_own(sink: Sink, address: str, pool: ThreadPoolExecutor) -> None:
    hostlane.log.enable(logging.WARNING)
    with hostlane.listen(address, secret="right") as listener:
        pool.submit(listener.accept, 10)
        with pytest.raises(hostlane.AuthenticationFailedError):
            hostlane.connect(address, secret="wrong")
    until(lambda: hostlane.log.drain() >= 0 and len(sink.records) >= 2)
    assert sorted(sink.names()) == ["handshake_failed", "refused"]
    for record in sink.records:
        assert record.levelno == logging.WARNING
        assert record.code == "authentication_failed"
        assert "right" not in record.getMessage()
        assert "wrong" not in record.getMessage()


def test_the_level_of_the_logger_is_the_default(sink: Sink, pair: Pair) -> None:
    logging.getLogger("hostlane").setLevel(logging.ERROR)
    hostlane.log.enable()
    pair.client.close()
    assert hostlane.log.drain() == 0
    assert sink.records == []


def test_links(sink: Sink, address: str) -> None:
    hostlane.log.enable(logging.DEBUG)
    with hostlane.Link.open(address) as a:
        b = hostlane.Link.open(address)
        thread = threading.Thread(target=b.next)
        thread.start()
        assert isinstance(a.next(timeout=5), hostlane.LinkUp)
        thread.join()
        b.close()
        assert isinstance(a.next(timeout=5), hostlane.LinkDown)
    hostlane.log.drain()
    assert sink.names().count("link_up") == 2
    assert sink.names().count("link_down") == 1


def test_dropped_events_are_counted(sink: Sink, listener: hostlane.Listener) -> None:
    # While a handler of logging runs, nobody else hands over.
    class Slow(logging.Handler):
        def __init__(self) -> None:
            super().__init__()
            self.told = False

        def emit(self, record: logging.LogRecord) -> None:
            if self.told or threading.current_thread() is not threading.main_thread():
                return
            self.told = True
            for _ in range(520):
                hostlane.connect(listener.address, timeout=5).close()

    def serve() -> None:
        for peer in listener:
            peer.close()

    serving = threading.Thread(target=serve)
    serving.start()
    slow = Slow()
    logger = logging.getLogger("hostlane")
    logger.addHandler(slow)
    try:
        hostlane.log.enable(logging.INFO)
        while not slow.told:
            hostlane.connect(listener.address).close()
        hostlane.log.drain()
    finally:
        logger.removeHandler(slow)
        listener.close()
        serving.join()
    record: Any = next(one for one in sink.records if one.event == "dropped")
    assert record.levelno == logging.WARNING
    assert record.dropped > 0
    assert str(record.dropped) in record.getMessage()


def test_an_event_loop_hands_over(sink: Sink, address: str) -> None:
    async def main() -> None:
        async with aio.listen(address) as listener:
            accepting = asyncio.create_task(listener.accept())
            async with await aio.connect(address):
                (await accepting).close()
        while sink.names().count("ended") < 2:
            await asyncio.sleep(0.001)

    hostlane.log.enable(logging.INFO)
    asyncio.run(asyncio.wait_for(main(), 10))
    assert sink.threads == {threading.get_ident()}


def test_a_handler_that_fails_breaks_no_call(
    sink: Sink, pair: Pair, capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError("broken")

    broken = Broken()
    logging.getLogger("hostlane").addHandler(broken)
    seen: list[object] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.unraisablehook", lambda told: seen.append(told.exc_value))
        hostlane.log.enable(logging.INFO)
        pair.client.close()
    logging.getLogger("hostlane").removeHandler(broken)
    assert [str(one) for one in seen] == ["broken"]
    assert capsys.readouterr().err == ""


def test_what_is_kept_at_exit_is_told(address: str, script: type[Script]) -> None:
    text = """
    import logging, sys, hostlane
    logging.basicConfig(format="%(levelname)s %(event)s", level=logging.INFO, stream=sys.stdout)
    hostlane.log.enable()
    link = hostlane.Link.open(sys.argv[1], reconnect=False)
    other = hostlane.Link.open(sys.argv[1])
    while link.is_serving is None or not other.process(): link.process()
    link.close(); other.close()
    """
    status, output, errors = script(text, address).end()
    assert (status, errors) == (0, "")
    assert "INFO link_up" in output
