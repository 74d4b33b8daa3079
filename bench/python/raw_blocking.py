"""A raw Unix socket: one write and one read for a message."""

from functools import partial

import raw
from works import program, run


class Lane(raw.Lane):
    """Plain."""

    kind = raw.Plain


program(raw.serve_plain, partial(run, Lane))
