"""Where answers of the mock wait until a test lets them go; see `gate` in scenario.py.

Files of the lab's folder are all there is to it: the mock is another process.
"""

import asyncio
import pathlib


class Gate:
    def __init__(self, folder, name):
        self.name = name
        self._waiting = pathlib.Path(folder) / f"gate-{name}.waiting"
        self._open = pathlib.Path(folder) / f"gate-{name}.open"

    # A test's side

    def waiting(self):
        """How many answers have come to the gate so far."""
        return self._waiting.stat().st_size if self._waiting.exists() else 0

    async def reached(self, count, seconds=30):
        """Returns when so many answers have come to the gate."""
        async with asyncio.timeout(seconds):
            while self.waiting() < count:
                await asyncio.sleep(0.02)

    def open(self):
        self._open.touch()

    # The mock's side

    async def passed(self, count=None):
        """Waits until the gate is open; the `count`-th answer opens it."""
        with open(self._waiting, "ab", buffering=0) as waiting:
            waiting.write(b".")
        if count and self.waiting() >= count:
            self.open()
        while not self._open.exists():
            await asyncio.sleep(0.01)
