"""One lab a module where the tests allow it; what cannot run here skips with its reason."""

import pathlib
import signal
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from tollgate_lab.lab import Lab, Unavailable  # noqa: E402


# A time limit's polite end takes the labs down, too: as an interrupt does, through the fixtures.
signal.signal(signal.SIGTERM, signal.default_int_handler)


def start(**options):
    try:
        return Lab(**options).__enter__()
    except Unavailable as missing:
        pytest.skip(f"no lab here: {missing}")


@pytest.fixture(scope="module")
def lab(request):
    """The module's lab; LAB_OPTIONS in the module changes it."""
    made = start(**getattr(request.module, "LAB_OPTIONS", {}))
    yield made
    made.__exit__(None, None, None)


@pytest.fixture
def make_lab():
    """For tests that need a lab of another shape, or that break theirs."""
    made = []

    def make(**options):
        made.append(start(**options))
        return made[-1]

    yield make
    for each in reversed(made):
        each.__exit__(None, None, None)


@pytest.fixture
def codex(lab):
    if lab.codex is None:
        pytest.skip("the Codex client is not installed: tests/integration/lab install-codex")
    return lab


@pytest.fixture
def eventually():
    """Waits for a value that another thread or process is about to bring."""

    def wait(read, accept=bool, seconds=30):
        deadline = time.monotonic() + seconds
        while not accept(value := read()):
            assert time.monotonic() < deadline, f"still {value!r} after {seconds} s"
            time.sleep(0.05)
        return value

    return wait
