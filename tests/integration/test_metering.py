"""What is recorded equals what the provider said, for every way in which an answer can end."""

import asyncio
import hashlib
import time

import pytest

from tollgate_lab.client import (AsyncStream, Connection, body_of, post, request_bytes, run_stream)
from tollgate_lab.config import CONTRACTOR_MODEL

LAB_OPTIONS = {"limits": {"upstream_silence_ms": 2000, "client_stall_ms": 60_000}}
SUMS = ("input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens")


def newest(lab):
    return max(lab.records(), key=lambda r: (r["started_unix_ms"], r["id"]))


def record_of(lab, response_id):
    found = lab.records(response_id=response_id)
    assert len(found) == 1, f"{len(found)} records of {response_id}"
    return found[0]


@pytest.mark.parametrize("body", [
    pytest.param(body_of(), id="plain"),
    pytest.param(b' {\n "stream":true , "model":"gpt-5.5",\t"input":"\\u00e9 \\ud83d\\ude00"}\r\n ',
                 id="odd spacing and escapes"),
    pytest.param(body_of(text="x" * 2_000_000), id="2 MB"),
    pytest.param(body_of(tools=[{"type": "weird", "x": [None, 1e400 if False else 1e300]}]),
                 id="unknown items"),
])
def test_body_reaches_the_provider_bit_for_bit(lab, body):
    assert post(lab, body).status == 200
    assert lab.mock_seen()[-1]["body_sha256"] == hashlib.sha256(body).hexdigest()


@pytest.mark.parametrize("scenario", [
    pytest.param({"split": "bytes", "events": 2}, id="byte by byte"),
    pytest.param({"split": 7, "events": 5}, id="seven bytes at a time"),
    pytest.param({"events": 3, "event_bytes": 300_000}, id="large events"),
    pytest.param({"terminal_bytes": 2_000_000}, id="large terminal event"),
    pytest.param({"header_bytes": 20_000}, id="large header"),
    pytest.param({"close": True}, id="connection closed after"),
])
def test_usage_is_found_however_the_answer_is_cut(lab, scenario):
    usage = {"input_tokens": 4321, "output_tokens": 99, "cached_tokens": 21, "reasoning_tokens": 9}
    answer = post(lab, body_of(mock={**scenario, "usage": usage}))
    events = answer.events()
    assert events[-1]["type"] == "response.completed"
    record = record_of(lab, events[-1]["response"]["id"])
    assert {name: record[name] for name in SUMS} == usage
    assert (record["outcome"], record["estimated"]) == ("completed", False)
    assert record["events"] == len(events) and record["cost_nano_usd"] > 0


def test_answer_without_streaming_is_metered(lab):
    answer = post(lab, body_of(stream=False, mock={"usage": {"input_tokens": 777}}))
    record = record_of(lab, answer.json()["id"])
    assert (record["input_tokens"], record["outcome"]) == (777, "completed")


@pytest.mark.parametrize("scenario,outcome", [
    ({"kind": "failed", "code": "server_error"}, "failed"),
    ({"kind": "incomplete"}, "incomplete"),
])
def test_failed_and_incomplete_cost_what_they_say(lab, scenario, outcome):
    answer = post(lab, body_of(mock={**scenario, "usage": {"input_tokens": 55}}))
    record = record_of(lab, answer.events()[-1]["response"]["id"])
    assert (record["outcome"], record["input_tokens"], record["estimated"]) == (outcome, 55, False)


@pytest.mark.parametrize("scenario", [
    {"kind": "reset", "events": 20, "after": 8},
    {"kind": "no_terminal", "events": 20, "after": 8},
    {"kind": "stall", "events": 20, "after": 8},
], ids=lambda scenario: scenario["kind"])
def test_answer_without_an_end_is_an_estimate_and_never_free(lab, scenario):
    count = len(lab.records())
    status, kinds, _ = asyncio.run(run_stream(lab, body_of(mock=scenario)))
    assert status == 200 and "response.completed" not in kinds
    record = newest(lab)
    assert len(lab.records()) == count + 1
    # A stall is ended by the gateway, the others by the provider.
    assert record["outcome"] in ("upstream_error", "cut")
    assert record["estimated"] and record["input_tokens"] > 0


def test_client_that_leaves_pays_an_estimate(lab, eventually):
    count = len(lab.records())

    async def leave():
        scenario = {"events": 400, "pace_ms": 20}
        stream = await AsyncStream.open(lab, body_of(text="q" * 4000, mock=scenario))
        await stream.head()
        seen = 0
        async for _ in stream.events():
            seen += 1
            if seen == 10:
                break
        stream.abort()

    asyncio.run(leave())
    eventually(lambda: len(lab.records()), lambda n: n == count + 1)
    record = newest(lab)
    assert (record["outcome"], record["estimated"]) == ("client_abort", True)
    assert record["input_tokens"] > 500 and record["cost_nano_usd"] > 0


def test_parallel_streams_are_metered_exactly(lab):
    """64 streams of 200 events, each with numbers of its own, two users."""
    before = {r["id"] for r in lab.records()}

    def ask(number):
        usage = {"input_tokens": 1000 + number, "output_tokens": 10 + number,
                 "cached_tokens": number, "reasoning_tokens": number % 7}
        name = "alice" if number % 2 else "bob"
        return run_stream(lab, body_of(CONTRACTOR_MODEL, mock={
            "events": 200, "usage": usage, "pace_ms": 2 if number % 3 else 0}), name)

    async def everyone():
        return await asyncio.gather(*(ask(number) for number in range(64)))

    results = asyncio.run(everyone())
    assert all(status == 200 and kinds[-1] == "response.completed" for status, kinds, _ in results)
    new = {r["response_id"]: r for r in lab.records() if r["id"] not in before}
    assert set(new) == {response_id for _, _, response_id in results}
    truth = {s["response_id"]: s for s in lab.mock_seen(method="POST")
             if s.get("response_id") in new}
    for response_id, record in new.items():
        usage = truth[response_id]["usage"]
        assert record["input_tokens"] == usage["input_tokens"]
        assert record["output_tokens"] == usage["output_tokens"]
        assert record["cached_tokens"] == usage["input_tokens_details"]["cached_tokens"]
        assert record["reasoning_tokens"] == usage["output_tokens_details"]["reasoning_tokens"]
        assert record["events"] == truth[response_id]["events"]


def test_slow_client_does_not_hold_up_others(lab):
    scenario = {"events": 400, "event_bytes": 50_000}
    with Connection(lab) as slow:
        slow.send(request_bytes(body=body_of(mock=scenario)))
        slow.head()
        started = time.monotonic()
        for _ in range(10):
            assert post(lab, body_of(), "alice").status == 200
        assert time.monotonic() - started < 20
        assert b"response.completed" in b"".join(slow.chunks())


def test_one_connection_carries_several_requests(lab):
    with Connection(lab) as connection:
        for number in range(3):
            connection.send(request_bytes(body=body_of(mock={"usage": {"input_tokens": number}})))
            events = connection.response().events()
            assert record_of(lab, events[-1]["response"]["id"])["input_tokens"] == number


def test_pipelined_requests_are_answered_in_order(lab):
    with Connection(lab) as connection:
        connection.send(b"".join(
            request_bytes(body=body_of(mock={"usage": {"input_tokens": number}}))
            for number in (11, 22)))
        said = [connection.response().events()[-1]["response"]["usage"]["input_tokens"]
                for _ in range(2)]
    assert said == [11, 22]


def test_early_provider_answer_reaches_the_client(lab):
    early = ('{"early":true,"kind":"http_error","status":400,"body":{"error":'
             '{"message":"too much","type":"invalid_request_error","code":"invalid_prompt"}}}')
    answer = post(lab, body_of(text="x" * 8_000_000), headers=[("x-mock", early)])
    assert answer.status == 400 and answer.error["message"] == "too much"
    assert post(lab, body_of()).status == 200
