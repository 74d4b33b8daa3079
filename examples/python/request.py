"""Usage: request.py ADDR TEXT. Makes one call and prints its reply."""

# README-begin
import sys

import hostlane

address, text = sys.argv[1:]
try:
    with hostlane.connect(address) as peer:
        print(peer.request(text.encode()).data.decode())
except hostlane.Error as error:
    sys.exit(f"hostlane: {error.kind}: {error}")
# README-end
