"""The end of the process: no hang and no noise, whatever is still open."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from script import Script

OPEN = """
    import sys, threading, hostlane
    listener = hostlane.listen(sys.argv[1])
    accepted = []
    thread = threading.Thread(target=lambda: accepted.append(listener.accept()))
    thread.start()
    client = hostlane.connect(sys.argv[1])
    thread.join()
    server = accepted.pop()
"""

ENDS = {
    "all-open": "pass",
    "queued": "client.send(b'unread')",
    "exit": "sys.exit(0)",
    "kept-by-the-module": "hostlane.keep = (client, server, listener)",
    "in-a-cycle": "cycle = [client, server]; cycle.append(cycle); del client, server, cycle",
    "thread-in-recv": "threading.Thread(target=client.recv, daemon=True).start()",
    "thread-in-accept": "threading.Thread(target=listener.accept, daemon=True).start()",
    "thread-in-request": "threading.Thread(target=client.request, args=[b''],"
    " kwargs={'timeout': None}, daemon=True).start()",
    "threads-in-all": "\n    ".join(
        f"threading.Thread(target={wait}, daemon=True).start()"
        for wait in ("client.recv", "client.recv", "server.recv", "listener.accept") * 4
    ),
    "closed-by-atexit": "import atexit; atexit.register(client.close);"
    " threading.Thread(target=list, args=[client], daemon=True).start()",
    "busy-threads": "exec('def spin():\\n while True:\\n  server.send(b\"\"); client.recv()');"
    " threading.Thread(target=spin, daemon=True).start()",
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_an_open_peer_at_exit(address: str, script: type[Script], end: str) -> None:
    for _ in range(5):
        assert script(OPEN + "    " + end, address).end() == (0, "", "")


def test_warnings_tell_what_was_not_closed(address: str, script: type[Script]) -> None:
    _, _, errors = script(OPEN, address, options=("-W", "always::ResourceWarning")).end()
    assert errors.count("ResourceWarning: unclosed <hostlane.Peer") == 2
    assert errors.count("ResourceWarning: unclosed <hostlane.Listener") == 1


def test_importing_starts_no_thread(script: type[Script]) -> None:
    text = "import os, hostlane; print(len(os.listdir('/proc/self/task')))"
    assert script(text).end() == (0, "1\n", "")
