"""A raw Unix socket: writes and reads batched by hand."""

from functools import partial

import raw
from works import program, run


class Lane(raw.Lane):
    """Batched."""

    kind = raw.Batched


program(raw.serve_batched, partial(run, Lane))
