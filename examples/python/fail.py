"""Usage: fail.py ADDR. One program that fails calls with codes of its own, both ways."""

# README-begin
import sys
import threading

import hostlane

NO_PRICE, BUSY = 42, 43


def handle(message: hostlane.Message, _: hostlane.Peer) -> bytes | None:
    if message.data == b"now":
        message.fail(BUSY, b"come back")  # answers, so nothing is returned
        return None
    raise hostlane.RemoteError("nothing is known of it", status=NO_PRICE, data=message.data)


with hostlane.listen(sys.argv[1]) as listener:
    threading.Thread(target=listener.serve, args=[handle]).start()
    with hostlane.connect(sys.argv[1]) as peer:
        for what in (b"now", b"tea"):
            try:
                peer.request(what, timeout=5)
            except hostlane.RemoteError as error:
                print(error.status, error.data.decode())
# README-end
