"""Fixtures of the attack tests: what a hostile client may do to a server that these tests start on 127.0.0.1."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

from running_server import ROOT, RunningServer  # noqa: E402


def pytest_addoption(parser):
    parser.addoption("--coppice", default=str(ROOT / "build" / "release" / "coppice"), help="the program under test")


@pytest.fixture(scope="session")
def binary(request):
    path = pathlib.Path(request.config.getoption("--coppice"))
    assert path.is_file(), f"{path} is not built"
    return path


@pytest.fixture(scope="module")
def server(binary):
    """A server with the default bounds. It must survive the module, and end when asked to."""
    with RunningServer(binary, "demo", "--seed", "1") as running:
        yield running
        assert running.process.poll() is None, "the server died:\n" + "".join(running.log)
        assert running.stop() == 0, "".join(running.log)
