"""Usage: stream.py ADDR. One program that serves sums over a stream, and asks for one."""

# README-begin
import sys
import threading

import hostlane


def add(message: hostlane.Message, _: hostlane.Peer) -> bytes:
    total = int(message.data)
    stream = message.stream()
    assert stream is not None, "only streams are served"
    for item in stream:
        total += int(item)
        stream.send(b"%d so far" % total)
    return b"%d" % total


def serve(peer: hostlane.Peer) -> None:
    with peer:
        peer.serve(add)


def accept(listener: hostlane.Listener) -> None:
    for client in listener:  # a thread each: a silent stream keeps nobody else waiting
        threading.Thread(target=serve, args=[client]).start()


with hostlane.listen(sys.argv[1]) as listener:
    threading.Thread(target=accept, args=[listener]).start()
    with hostlane.connect(sys.argv[1]) as peer, peer.open_stream(b"100", timeout=5) as stream:
        for n in (1, 2, 3):
            stream.send(b"%d" % n)
        stream.finish()
        for item in stream:
            print(item.decode())
        print("the sum is", int(stream.reply or b"0"))
# README-end
