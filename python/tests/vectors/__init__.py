"""The player of the shared vectors of tests/vectors: a module for each of its nouns."""

import pytest

# So that what fails in them says as much as what fails in a test does.
pytest.register_assert_rewrite(
    "vectors.wire",
    "vectors.subject",
    "vectors.handshakes",
    "vectors.frames",
    "vectors.conversations",
)
