"""A provider that thinks for long: the client hears something before its own patience ends."""

import asyncio

from tollgate_lab.client import AsyncStream, body_of, post
from tollgate_lab.config import default_policies

KEEPALIVE = "gateway.keepalive"
LAB_OPTIONS = {
    "limits": {"keepalive_ms": 50},
    "policies": default_policies(limits=[{"per": "user", "usd": "1000.00", "window": "24h"}]),
}


async def read_all(lab, scenario, gate):
    """Types of the events; the gate opens at the third sign of life."""
    stream = await AsyncStream.open(lab, body_of(mock={**scenario, "gate": gate.name}))
    assert await stream.head() == 200
    kinds = []
    async with asyncio.timeout(20):
        async for event in stream.events():
            kinds.append(event)
            if [e["type"] for e in kinds].count(KEEPALIVE) == 3:
                gate.open()
    stream.close()
    return kinds


def test_silence_is_filled_and_no_event_is_changed(lab):
    """At every event of an answer, written byte by byte."""
    whole = [e["type"] for e in post(lab, body_of(mock={"events": 3})).events()]
    for after in range(len(whole)):
        scenario = {"events": 3, "gate_after": after, "split": "bytes"}
        events = asyncio.run(read_all(lab, scenario, lab.gate()))
        kinds = [event["type"] for event in events]
        assert [kind for kind in kinds if kind != KEEPALIVE] == whole
        assert kinds.count(KEEPALIVE) >= 3
        assert kinds.index(KEEPALIVE) == after
        response = events[-1]["response"]
        (record,) = lab.records(response_id=response["id"])
        assert record["outcome"] == "completed" and not record["estimated"]
        assert record["input_tokens"] == response["usage"]["input_tokens"]


def test_answer_that_flows_is_left_alone(lab):
    events = post(lab, body_of(mock={"events": 100, "pace_ms": 5})).events()
    assert KEEPALIVE not in [event["type"] for event in events]


def test_answer_without_streaming_gets_nothing_put_into_it(lab):
    gate = lab.gate()
    asyncio.run(asyncio.wait_for(one_json(lab, gate), 20))


async def one_json(lab, gate):
    stream = await AsyncStream.open(lab, body_of(stream=False, mock={"gate": gate.name}))
    await gate.reached(1)
    # Several times the keepalive's pace.
    await asyncio.sleep(0.3)
    gate.open()
    assert await stream.head() == 200
    assert (await stream.body()).startswith(b'{"id"')
    stream.close()
