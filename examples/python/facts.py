"""Usage: facts.py ADDR. One program that tells of its connection, and what happened to it."""

# README-begin
import logging
import sys
import threading

import hostlane

logging.basicConfig(level=logging.INFO)  # without it Python prints warnings only
hostlane.log.enable()

with hostlane.listen(sys.argv[1]) as listener:
    threading.Thread(target=listener.serve, args=[lambda message, _: message.view()]).start()
    with hostlane.connect(sys.argv[1]) as peer:
        peer.request(b"hello", timeout=5)
        info = peer.info()
        print(f"on level {info.level}, to user {info.credentials and info.credentials.uid}")
        stats = peer.stats()
        print(f"{stats.calls} calls, {stats.open_calls} open")
        for one in stats.channels:
            print(
                f"channel {one.channel}: {one.messages_sent} sent, {one.messages_received} received"
            )
        print(f"there and back in {peer.ping(timeout=5)} s")
        peer.drain(timeout=5)
# README-end
