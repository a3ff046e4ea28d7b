"""Every way in which an answer can end: settled once, at the truth where it can be known, else at a
flagged estimate within the hold; and then nothing is held."""

import asyncio
import time

import pytest

from tollgate_lab.client import AsyncStream, Connection, body_of, post, request_bytes
from tollgate_lab.config import USERS, default_policies
from tollgate_lab.crowd import ask_all
from tollgate_lab.prices import cost_nano_usd

ALICE = USERS["alice"]["user"]
EVENTS = 40
SCENARIO = {"events": EVENTS - 8}  # the other eight are around the deltas
LIMITS = [{"per": "user", "usd": "1000.00", "window": "24h"},
          {"per": "user", "tokens": 1_000_000_000, "window": "24h"},
          {"per": "user", "requests": 1_000_000, "window": "24h"}]
LAB_OPTIONS = {
    "limits": {"upstream_silence_ms": 4000, "abort_drain_ms": 500},
    "policies": default_policies(limits=LIMITS),
}


@pytest.fixture(autouse=True)
def accounts_agree_with_the_ledger(lab, eventually):
    """After each test nothing is held, and what the limits say is the sum of the records."""
    yield
    eventually(lab.held, lambda held: held == 0)
    admitted = [r for r in lab.records() if r["outcome"] != "refused"]
    used = {row["unit"]: row["used"] for row in lab.limits_of(ALICE)}
    assert used["usd"] == sum(r["cost_nano_usd"] for r in admitted)
    assert used["tokens"] == sum(r["input_tokens"] + r["output_tokens"] for r in admitted)


def record_with(lab, session, eventually):
    """The one record of a request that carried this session id."""
    (record,) = eventually(lambda: lab.records(session_id=session))
    return record


def assert_truth(lab, record, eventually):
    """The record is what the mock said about that answer."""
    (seen,) = eventually(lambda: lab.mock_seen(response_id=record["response_id"]))
    usage = seen["usage"]
    assert not record["estimated"]
    assert record["input_tokens"] == usage["input_tokens"]
    assert record["output_tokens"] == usage["output_tokens"]
    assert record["cost_nano_usd"] == cost_nano_usd(record["model_served"], usage)


def assert_estimate(record):
    assert record["estimated"]
    assert 0 < record["cost_nano_usd"] <= record["hold_cost_nano_usd"]
    assert 0 < record["input_tokens"] <= record["hold_input_tokens"]
    assert record["output_tokens"] <= record["hold_output_tokens"]


async def leave_after(lab, count, session, gate, arrives):
    """Reads that many events of an answer that then waits at the gate, and is gone."""
    scenario = {**SCENARIO, "gate": gate.name, "gate_after": count,
                "usage": {"input_tokens": 500 + count, "output_tokens": 30 + count}}
    stream = await AsyncStream.open(lab, body_of(text="q" * 3000, mock=scenario),
                                    headers=[("session-id", session)])
    assert await stream.head() == 200
    seen = 0
    if count:
        async for event in stream.events():
            seen += 1
            if seen == count:
                assert (event["type"] == "response.completed") == (count == EVENTS)
                break
    stream.abort()
    if arrives:
        gate.open()


def leave_everywhere(lab, label, arrives):
    """One client for every number of events from none to all; returns session → number."""
    gates = {count: lab.gate() for count in range(EVENTS + 1)}

    async def everyone():
        await asyncio.gather(*(leave_after(lab, count, f"{label}-{count}", gate, arrives)
                               for count, gate in gates.items()))

    asyncio.run(everyone())
    return {f"{label}-{count}": (count, gate) for count, gate in gates.items()}


def test_client_that_leaves_anywhere_pays_the_truth_when_it_still_arrives(lab, eventually):
    for session, (count, _) in leave_everywhere(lab, "arrives", arrives=True).items():
        record = record_with(lab, session, eventually)
        # The end may be there before the gateway hears that the client has gone.
        assert record["outcome"] in ("client_abort", "completed"), count
        assert record["input_tokens"] == 500 + count, count
        assert_truth(lab, record, eventually)


def test_client_that_leaves_anywhere_pays_an_estimate_when_nothing_arrives(lab, eventually):
    for session, (count, gate) in leave_everywhere(lab, "silent", arrives=False).items():
        record = record_with(lab, session, eventually)
        gate.open()
        if count == EVENTS:
            assert record["outcome"] == "completed"
            assert_truth(lab, record, eventually)
        else:
            assert record["outcome"] == "client_abort", count
            assert_estimate(record)


def test_draining_policy_reads_on_to_the_providers_own_figure(lab, eventually):
    lab.change_rules(policies=default_policies(limits=LIMITS, on_client_abort="drain"))
    paths = leave_everywhere(lab, "drained", arrives=False)

    # Longer than abort_drain_ms, which is not for these, and shorter than a silent provider is
    # waited for.
    time.sleep(1)
    for _, gate in paths.values():
        gate.open()
    for session, (count, _) in paths.items():
        record = record_with(lab, session, eventually)
        assert record["outcome"] == ("completed" if count == EVENTS else "client_abort"), count
        assert_truth(lab, record, eventually)


@pytest.mark.parametrize("sent", [50, 5_000], ids=["in the head", "in the body"])
def test_client_that_leaves_while_it_sends_costs_nothing(lab, sent):
    at_provider = len(lab.mock_seen(method="POST"))
    used = {row["unit"]: row["used"] for row in lab.limits_of(ALICE)}
    with Connection(lab) as connection:
        connection.send(request_bytes(body=body_of(text="x" * 500_000))[:sent])
    assert len(lab.mock_seen(method="POST")) == at_provider
    assert {row["unit"]: row["used"] for row in lab.limits_of(ALICE)} == used


@pytest.mark.parametrize("scenario,outcomes,exact", [
    ({"kind": "failed", "code": "server_error"}, {"failed"}, True),
    ({"kind": "incomplete"}, {"incomplete"}, True),
    ({"kind": "failed", "usage": None}, {"failed"}, False),
    ({"kind": "incomplete", "usage": None}, {"incomplete"}, False),
    ({"usage": None}, {"completed"}, False),
    ({"kind": "reset", "after": 8}, {"upstream_error"}, False),
    ({"kind": "reset", "after": 0}, {"upstream_error"}, False),
    ({"kind": "no_terminal", "after": 8}, {"upstream_error"}, False),
    ({"kind": "stall", "after": 8}, {"cut", "upstream_error"}, False),
], ids=str)
def test_what_the_provider_did_decides_the_charge(lab, eventually, scenario, outcomes, exact):
    known = {r["id"] for r in lab.records()}
    ask_all(lab, [body_of(text="q" * 2000, mock={"events": 12, **scenario}) for _ in range(8)])

    def new():
        return [r for r in lab.records() if r["id"] not in known]

    for record in eventually(new, lambda records: len(records) == 8):
        assert record["outcome"] in outcomes
        if exact:
            assert_truth(lab, record, eventually)
        else:
            assert_estimate(record)


@pytest.mark.parametrize("scenario", [
    {"kind": "http_error", "status": 400}, {"kind": "http_error", "status": 401},
    {"kind": "http_error", "status": 429}, {"kind": "http_error", "status": 500},
], ids=lambda scenario: str(scenario["status"]))
def test_what_the_provider_refused_is_free(lab, eventually, scenario):
    known = {r["id"] for r in lab.records()}
    used = {row["unit"]: row["used"] for row in lab.limits_of(ALICE)}
    ask_all(lab, [body_of(mock=scenario) for _ in range(8)])
    eventually(lab.held, lambda held: held == 0)
    assert all(r["cost_nano_usd"] == 0 for r in lab.records() if r["id"] not in known)
    assert {row["unit"]: row["used"] for row in lab.limits_of(ALICE)} == used


def test_provider_that_is_away_costs_nothing(lab, eventually):
    used = {row["unit"]: row["used"] for row in lab.limits_of(ALICE)}
    lab.mock.stop()
    try:
        told = ask_all(lab, [body_of() for _ in range(8)])
    finally:
        lab.start_mock()
    assert {t.status for t in told} == {503}
    eventually(lab.held, lambda held: held == 0)
    assert {row["unit"]: row["used"] for row in lab.limits_of(ALICE)} == used


def test_more_than_was_held_is_charged_and_counted(lab, eventually):
    usage = {"input_tokens": 200_000, "output_tokens": 90_000}
    answer = post(lab, body_of(mock={"usage": usage}))
    (record,) = eventually(lambda: lab.records(
        response_id=answer.events()[-1]["response"]["id"]))
    assert_truth(lab, record, eventually)
    assert record["cost_nano_usd"] > record["hold_cost_nano_usd"]


def test_answer_without_streaming_settles_its_hold(lab):
    answer = post(lab, body_of(stream=False, mock={"usage": {"input_tokens": 777}}))
    (record,) = lab.records(response_id=answer.json()["id"])
    assert record["hold_cost_nano_usd"] > 0
    assert record["cost_nano_usd"] == cost_nano_usd("gpt-5.5", answer.json()["usage"])
