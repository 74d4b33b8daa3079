"""Usage: link.py ADDR NAME. Two of this program, in whatever order, greet each other."""

# README-begin
import sys
import threading

import hostlane

address, name = sys.argv[1:]


def answer(message: hostlane.Message, _: hostlane.Link) -> bytes:
    return f"{name} got: {message.data.decode()}".encode()


with hostlane.Link.open(address) as link:
    threading.Thread(target=link.serve, args=[answer], daemon=True).start()
    greeting = link.request(f"hello from {name}".encode(), timeout=None)
    print("serving" if link.is_serving else "connected", flush=True)
    print(greeting.data.decode(), flush=True)
    sys.stdin.read()
# README-end
