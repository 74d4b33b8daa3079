"""The package as it is installed: its stubs, its version, what it is linked to."""

from __future__ import annotations

import importlib.metadata
import inspect
import subprocess
import sys
import tomllib
from pathlib import Path

import hostlane
from hostlane import _core, aio

ROOT = Path(__file__).parents[2]


def test_the_stubs_describe_the_native_module(folder: Path) -> None:
    allowed = folder / "allowed"
    # Before Python 3.12 the buffer protocol has no method that could be seen.
    allowed.write_text("hostlane._native.(Aio)?Message.__buffer__\n", encoding="ascii")
    stubtest = ["-m", "mypy.stubtest", "hostlane._native", "--ignore-unused-allowlist"]
    checked = subprocess.run(
        [sys.executable, *stubtest, "--allowlist", allowed],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_one_version() -> None:
    manifest = tomllib.loads((ROOT / "Cargo.toml").read_text(encoding="utf-8"))
    version = manifest["workspace"]["package"]["version"]
    assert hostlane.__version__ == importlib.metadata.version("hostlane") == version


def test_the_native_module_is_not_linked_to_one_python() -> None:
    file = inspect.getfile(sys.modules[_core.NativePeer.__module__])
    assert file.endswith(".abi3.so")
    assert b"libpython" not in Path(file).read_bytes()


def test_all_that_is_public_is_documented_and_typed() -> None:
    package = Path(hostlane.__file__).parent
    assert (package / "py.typed").is_file()
    for name in hostlane.__all__:
        assert hasattr(hostlane, name)
    for name in aio.__all__:
        assert hasattr(aio, name)
    for kind in (
        *(hostlane.Peer, hostlane.Listener, hostlane.Message, hostlane.Call, hostlane.Stream),
        *(aio.Peer, aio.Listener, aio.Message, aio.Stream),
    ):
        for name, member in vars(kind).items():
            documented = name.startswith("_") or name == "native" or inspect.getdoc(member)
            assert documented, f"{kind.__name__}.{name}"
