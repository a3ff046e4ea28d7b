"""Many requests at once on one event loop, and what each was told."""

import asyncio
import dataclasses
import itertools
import json
import ssl

from tollgate_lab.client import TERMINAL, AsyncStream

GONE = (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError)


@dataclasses.dataclass
class Told:
    status: int = 0  # 0: the connection ended before an answer
    headers: dict = dataclasses.field(default_factory=dict)
    error: dict | None = None
    kinds: list = dataclasses.field(default_factory=list)  # of the events
    response: dict | None = None  # of the terminal event

    @property
    def completed(self):
        return self.response is not None and self.response["status"] == "completed"


async def ask(lab, body, name="alice", headers=()):
    told = Told()
    try:
        stream = await AsyncStream.open(lab, body, name, headers)
    except OSError:
        return told
    try:
        told.status = await stream.head()
        told.headers = stream.headers
        if told.status != 200:
            told.error = json.loads(await stream.body())["error"]
            return told
        async for event in stream.events():
            told.kinds.append(event["type"])
            if event["type"] in TERMINAL:
                told.response = event["response"]
    except GONE:
        pass
    finally:
        stream.close()
    return told


def ask_all(lab, bodies, gate=None, meanwhile=lambda: None, names=("alice",), seconds=120):
    """All at once, by these clients in turn. With a gate none is answered before the gateway has
    decided about each; what `meanwhile` looks at is the state in which all that were let through
    still run."""
    async def everyone():
        tasks = [asyncio.create_task(ask(lab, body, name))
                 for body, name in zip(bodies, itertools.cycle(names))]
        async with asyncio.timeout(seconds):
            while gate and sum(task.done() for task in tasks) + gate.waiting() < len(tasks):
                await asyncio.sleep(0.02)
            if gate:
                meanwhile()
                gate.open()
            return await asyncio.gather(*tasks)

    return asyncio.run(everyone())
