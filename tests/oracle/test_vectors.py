"""The oracle against itself: committed vectors are current and well-formed, stock peers understand
each other, and a few values are written down by hand so that the oracle cannot drift with its output."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import gen_vectors
from level0 import Decoder, Frame, Violation, encode_request, encode_response, parse_refusal
from minischema import problems
from stock import Background, StockClient, StockServer, Wire, echo

VECTORS = Path(gen_vectors.TARGET).parent
WANTED = {path / name: content for path, files in gen_vectors.trees().items() for name, content in files.items()}
PATHS = sorted(WANTED)
IDS = [f"{path.parent.name}/{path.name}" for path in PATHS]


@pytest.mark.parametrize("path", PATHS, ids=IDS)
def test_committed_file_is_current(path: Path) -> None:
    assert path.read_text("utf-8") == WANTED[path]


def test_no_other_file_is_committed() -> None:
    assert sorted(path for path in VECTORS.glob("*/*")) == PATHS


EVERY = [VECTORS / "errors.json", *PATHS]


@pytest.mark.parametrize("path", EVERY, ids=[str(path.relative_to(VECTORS)) for path in EVERY])
def test_file_satisfies_the_schema(path: Path) -> None:
    schema = json.loads((VECTORS / "schema.json").read_text("utf-8"))
    assert problems(json.loads(path.read_text("utf-8")), schema, schema) == []


def test_every_error_name_is_in_the_error_table() -> None:
    known = {case["name"] for case in json.loads((VECTORS / "errors.json").read_text("utf-8"))["cases"]}
    used: set[str] = set()
    for path in PATHS:
        for case in json.loads(path.read_text("utf-8"))["cases"]:
            for step in [case.get("expect", {}), *case.get("steps", [])]:
                for member in ("error", "refused", "refuses", "closes", "ends"):
                    used.update(step.get(member, []))
                used.update(step.get("fails", {}).get("error", []))
                end = step.get("end")
                if end not in (None, "more", "clean"):
                    used.update([end] if isinstance(end, str) else end)
    assert used and used <= known


def test_the_header_by_hand() -> None:
    assert Frame(0x0102, b"abc").encode() == b"\x49\x50\x03\x00\x00\x00\x02\x01abc"
    decoder = Decoder()
    decoder.feed(b"IP\x00\x00\x00\x00\x04\x00" + b"IP\x01\x00\x00\x00\xff\xff" + b"x")
    assert decoder.all() == [Frame(4, b""), Frame(0xFFFF, b"x")]


def test_the_handshake_by_hand() -> None:
    assert encode_request([1, 2]) == b'{"protocol":"ipcprims","version":"1.0","channels":[1,2]}'
    assert encode_request([1], "t") == b'{"protocol":"ipcprims","version":"1.0","channels":[1],"auth_token":"t"}'
    assert encode_response([2]) == b'{"protocol":"ipcprims","version":"1.0","channels":[2],"peer_id":"peer-1"}'


def test_a_refusal_has_exactly_one_shape() -> None:
    good = b'{"protocol":"ipcprims","version":"1.0","error":{"code":310,"name":"no_common_channel","message":"m"}}'
    assert parse_refusal(good) == (310, "no_common_channel", "m")
    for bad in (
        good.replace(b'"error"', b'"channels":[],"error"'),
        good.replace(b'"error"', b'"peer_id":"p","error"'),
        good.replace(b',"message":"m"', b""),
        good.replace(b"310", b'"310"'),
    ):
        with pytest.raises(Violation):
            parse_refusal(bad)


def test_stock_client_and_stock_server_understand_each_other(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with StockServer(path, [1, 2, 300]) as server:
        other = Background(lambda: echo(server.accept()))
        with StockClient(path, [300, 4, 1]) as client:
            assert (client.channels, client.peer_id) == ([300, 1], "peer-1")
            assert client.request(b"question") == b"question"
            client.send(300, b"x" * 100_000)
            assert client.recv() == (300, b"x" * 100_000)
            assert client.ping() < 5
            client.shutdown()
        assert other.result() == "connection closed"


def test_stock_server_closes_a_refused_client_without_a_word(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with StockServer(path, [1]) as server:
        other = Background(server.accept)
        with Wire.connect(path) as wire:
            wire.send_frame(0, encode_request([2]))
            assert wire.rest() == []
        with pytest.raises(Violation, match="no_common_channel"):
            other.result()
