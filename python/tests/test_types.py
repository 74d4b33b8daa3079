"""The facts: immutable, comparable, picklable."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import TYPE_CHECKING

import hostlane
import pytest
import wire

if TYPE_CHECKING:
    from conftest import Pair


def test_facts_can_be_pickled_and_not_changed(pair: Pair, listener: hostlane.Listener) -> None:
    with wire.dial(listener.address) as client:
        client.send(wire.frame(wire.CONTROL, b"no JSON"))
        with pytest.raises(hostlane.TimeoutError):
            listener.accept(timeout=0.2)
    facts = [pair.client.info(), pair.client.stats(), listener.stats(), *listener.refusals()]
    assert len(facts) == 4
    for fact in facts:
        assert dataclasses.is_dataclass(fact)
        assert pickle.loads(pickle.dumps(fact)) == copy.deepcopy(fact) == fact
        assert hash(fact) == hash(copy.deepcopy(fact))
        for field in dataclasses.fields(fact):
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(fact, field.name, None)


def test_the_channels_have_names() -> None:
    channels = (hostlane.COMMAND, hostlane.DATA, hostlane.TELEMETRY, hostlane.ERROR)
    assert channels == (1, 2, 3, 4)
