"""Every byte to a provider has its usage record, as the kernel counts: whatever way an answer ends,
nothing is left over, and when a record is forgotten on purpose, an alarm is raised."""

import asyncio
import json

import pytest

from tollgate_lab.client import AsyncStream, Connection, body_of, post, request_bytes
from tollgate_lab.lab import default_build, find_program

# Connections are judged when they have ended, so idle ones end soon.
LIMITS = {"upstream_idle_pool_ms": 300, "abort_drain_ms": 200}
LAB_OPTIONS = {"limits": LIMITS}
BIG_UP = body_of(text="u" * 100_000)


def metering(lab):
    return lab.status()["metering"]


@pytest.fixture
def judged(lab, eventually):
    """Waits until all connections to the provider have ended and been judged."""

    def wait(least):
        return eventually(lambda: metering(lab),
                          lambda now: now["judged"] >= least and now["flows_open"] == 0
                          and now["judged"] + now["unjudged"] == now["flows"], seconds=60)

    return wait


def leave_early(lab, body, events):
    async def run():
        stream = await AsyncStream.open(lab, body)
        await stream.head()
        seen = 0
        async for _ in stream.events():
            seen += 1
            if seen == events:
                break
        stream.abort()

    asyncio.run(run())


def send_half(lab):
    """A client that is gone while its request is on the way."""
    raw = request_bytes(body=body_of(text="h" * 1_000_000))
    with Connection(lab) as connection:
        connection.send(raw[:500_000])


def keep_alive(lab):
    with Connection(lab) as connection:
        for number in range(4):
            connection.send(request_bytes(body=body_of(text=f"{number} " * 5000)))
            assert connection.response().status == 200


ORDINARY = {
    "completed": lambda lab: post(lab, body_of()),
    "large request": lambda lab: post(lab, body_of(text="x" * 3_000_000)),
    "large event": lambda lab: post(lab, body_of(mock={"terminal_bytes": 2 << 20})),
    "many events": lambda lab: post(lab, body_of(mock={"events": 3000, "event_bytes": 400})),
    "whole answer": lambda lab: post(lab, body_of(stream=False)),
    "kept alive": keep_alive,
    "refused by the provider": lambda lab: post(lab, body_of(
        text="e" * 200_000, mock={"kind": "http_error", "status": 500, "body": "no"})),
    "refused before it was read": lambda lab: post(lab, body_of(
        text="e" * 2_000_000, mock={"kind": "http_error", "status": 413, "body": "big",
                                    "early": True})),
    "key rejected": lambda lab: post(lab, body_of(
        text="k" * 50_000, mock={"kind": "http_error", "status": 401, "body": "who"})),
    "reset": lambda lab: leave_quietly(lab, {"kind": "reset", "events": 20, "after": 8}),
    "no terminal event": lambda lab: leave_quietly(lab, {"kind": "no_terminal", "after": 8}),
    "client leaves": lambda lab: leave_early(
        lab, body_of(text="q" * 50_000, mock={"events": 4000, "event_bytes": 2000}), 5),
    "client leaves in its request": send_half,
    "closed behind the answer": lambda lab: post(lab, body_of(mock={"close": True})),
}


def leave_quietly(lab, scenario):
    try:
        post(lab, body_of(text="r" * 30_000, mock=scenario))
    except (ConnectionError, ValueError, OSError):
        pass  # the end is missing: that is the point


def test_no_ordinary_end_leaves_bytes_without_a_record(lab, judged):
    for name, act in ORDINARY.items():
        act(lab)
        assert metering(lab)["unmetered_flows"] == 0, name
    now = judged(3)
    assert (now["unmetered_flows"], now["unmetered_bytes"], now["events_lost"]) == (0, 0, 0), now
    assert now["unjudged"] == 0
    assert lab.status()["healthy"], lab.status()["problems"]


def test_records_say_what_crossed(lab, eventually):
    before = len(lab.records())
    assert post(lab, BIG_UP).status == 200
    records = eventually(lab.records, lambda all_of: len(all_of) == before + 1)
    record = max(records, key=lambda r: r["started_unix_ms"])
    assert record["upstream_flow_id"] != 0
    # TLS adds a handshake and 22 bytes a record.
    assert 0 < record["upstream_bytes_up"] - record["bytes_up"] < 4_000
    assert 0 < record["upstream_bytes_down"] - record["bytes_down"] < 8_000


@pytest.fixture(scope="module")
def forgetful(request):
    try:
        find_program(default_build(), "tollgated-faults")
    except RuntimeError as missing:
        pytest.skip(str(missing))


@pytest.mark.parametrize("on_unmetered", ["alarm", "refuse"])
def test_a_forgotten_record_raises_an_alarm(make_lab, forgetful, eventually, on_unmetered):
    lab = make_lab(limits=LIMITS, gateway_settings={"on_unmetered": on_unmetered})
    lab.unmetered_expected = True
    lab.daemon.stop(60)
    lab.start_daemon("tollgated-faults", {"TOLLGATE_FAULT": "forget_record:2"})
    assert post(lab, BIG_UP).status == 200
    assert post(lab, BIG_UP).status == 200  # nobody but the kernel knows of it
    assert len(lab.records()) == 1
    now = eventually(lambda: metering(lab), lambda now: now["unmetered_flows"] == 1, seconds=60)
    assert 100_000 < now["unmetered_bytes"] < 200_000
    status = lab.status()
    assert not status["healthy"]
    assert any("unmetered traffic on 1 connection" in p for p in status["problems"])
    assert "unmetered traffic: flow=" in lab.daemon.log()
    (flow,) = json.loads(lab.ctl("unmetered", "--json").stdout)["flows"]
    assert flow["provider"] == "mock" and flow["bytes_sent"] > 100_000
    answer = post(lab, body_of())
    if on_unmetered == "refuse":
        assert (answer.status, answer.error["code"]) == (503, "unmetered_traffic")
        assert "did not meter" in answer.error["message"]
        assert lab.counter("refused", "unmetered_traffic") == 1
        assert "REQUESTS ARE REFUSED" in lab.ctl("unmetered").stdout
    else:
        assert answer.status == 200
    assert "Acknowledged 1 connection" in lab.ctl("unmetered", "--acknowledge").stdout
    assert "acknowledge unmetered traffic" in lab.daemon.log()
    assert post(lab, body_of()).status == 200
    assert metering(lab)["unmetered_flows"] == 1  # what happened stays counted
    assert lab.status()["healthy"], lab.status()["problems"]
