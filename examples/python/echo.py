"""Usage: echo.py ADDR. Answers every message and call with its own bytes, for many clients."""

import signal


def stop(*_: object) -> None:
    """Leaves the `with` below, which removes the socket."""
    raise SystemExit


signal.signal(signal.SIGTERM, stop)

# README-begin
import sys
import threading

import hostlane


def answer(message: hostlane.Message, _: hostlane.Peer) -> memoryview:
    return message.view()


def serve(peer: hostlane.Peer) -> None:
    try:
        with peer:
            peer.serve(answer)
    except hostlane.Error as error:
        print(f"hostlane: {error.kind}: {error}", file=sys.stderr)


with hostlane.listen(sys.argv[1]) as listener:
    print(f"ready {sys.argv[1]}", flush=True)
    for client in listener:
        threading.Thread(target=serve, args=[client], daemon=True).start()
# README-end
