"""What happens in a forked child."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable


def in_child(body: Callable[[], object]) -> str:
    """Runs the body in a forked child: its result as text, or the name of its exception."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # That a process with threads forks is the very point.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            text = repr(body())
        except BaseException as error:
            text = type(error).__name__
        os.write(writing, text.encode())
        os._exit(0)
    os.close(writing)
    with open(reading, encoding="utf-8") as pipe:
        text = pipe.read()
    assert os.waitpid(child, 0)[1] == 0
    return text
