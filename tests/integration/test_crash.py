"""Killed at any place on a request's way, the gateway loses no settled record and leaks no hold.

tollgated-faults ends itself by SIGKILL the nth time it passes a named place; the gateway that ships
starts over its ledger and has to put everything in order.
"""

import asyncio
import dataclasses
import os
import random
import signal
import subprocess

import pytest

from tollgate_lab.client import body_of, post
from tollgate_lab.config import CONTRACTOR_MODEL, USERS, default_policies
from tollgate_lab.crowd import Told, ask
from tollgate_lab.lab import default_build, find_program
from tollgate_lab.prices import cost_nano_usd

PLACES = ("hold_pushed", "hold_durable", "request_sent", "answer_begun", "event_relayed",
          "terminal_held", "settle_pushed", "settle_durable", "released", "commit_before",
          "commit_after")
ROUNDS = int(os.environ.get("TOLLGATE_CRASH_ROUNDS", "3"))
AT_ONCE = 12
STARTS = 20
EVENTS = 10
NTH_MAX = {"event_relayed": AT_ONCE * EVENTS, "commit_before": 8, "commit_after": 8}
LIMITS = [{"per": "user", "usd": "1000.00", "window": "24h"},
          {"per": "group", "tokens": 1_000_000_000, "window": "24h"}]
LAB_OPTIONS = {"steering": "userspace", "policies": default_policies(limits=LIMITS)}


@pytest.fixture(scope="module", autouse=True)
def needs_the_faulty_build():
    try:
        find_program(default_build(), "tollgated-faults")
    except RuntimeError as missing:
        pytest.skip(str(missing))


@dataclasses.dataclass
class Asked:
    session: str
    told: Told


async def until_it_dies(lab, label):
    """Keeps some requests running until the daemon is gone; what each was told."""
    asked = []

    async def client(number):
        turn = 0
        while lab.daemon.alive():
            session = f"{label}-{number}-{turn}"
            scenario = {"events": EVENTS - 8, "pace_ms": 2,
                        "usage": {"input_tokens": 1000 + number, "output_tokens": 50 + turn}}
            told = await ask(lab, body_of(CONTRACTOR_MODEL if number % 2 else "gpt-5.5",
                                          mock=scenario), headers=[("session-id", session)])
            asked.append(Asked(session, told))
            turn += 1

    async with asyncio.timeout(120):
        await asyncio.gather(*(client(number) for number in range(AT_ONCE)))
    return asked


def seen_by_session(lab):
    """What the mock got, by the session id that came with it."""
    seen = {}
    for exchange in lab.mock_seen(method="POST"):
        sessions = [value for name, value in exchange["headers"] if name.lower() == "session-id"]
        if sessions:
            seen[sessions[0]] = exchange
    return seen


def assert_in_order(lab, asked):
    everything = lab.records()
    assert len({r["id"] for r in everything}) == len(everything)
    by_session = {}
    for record in everything:
        assert record["session_id"] not in by_session or not record["session_id"]
        by_session[record["session_id"]] = record
    at_mock = seen_by_session(lab)
    for each in asked:
        record = by_session.get(each.session)
        exchange = at_mock.get(each.session)
        # Nothing reached the provider without a record, nothing that a client saw whole is lost.
        assert record is not None or (exchange is None and not each.told.completed), each
        if each.told.completed:
            assert record["outcome"] == "completed", (each, record)
        if record is not None:
            assert_charged_right(record, exchange)
    # Crashes lose time, not money: what is recorded is what is counted, and nothing is held.
    assert lab.held() == 0
    admitted = [r for r in everything if r["outcome"] != "refused"]
    assert lab.the_limit(unit="usd", subject=USERS["alice"]["user"])["used"] == sum(
        r["cost_nano_usd"] for r in admitted)


def assert_charged_right(record, exchange):
    if record["outcome"] == "completed":
        usage = exchange["usage"]
        assert (record["input_tokens"], record["output_tokens"], record["estimated"]) == (
            usage["input_tokens"], usage["output_tokens"], False)
        assert record["cost_nano_usd"] == cost_nano_usd(record["model_served"], usage)
    elif record["outcome"] == "recovered":
        assert record["estimated"]
        assert 0 < record["cost_nano_usd"] <= record["hold_cost_nano_usd"]


def recovered_ids(lab):
    lines = lab.ctl("usage", "records", "--outcome", "recovered", "--json").stdout.splitlines()
    listed = lab.ctl("sessions", "--recovered", "--json").stdout.splitlines()
    assert lines == listed
    return {r["id"] for r in lab.records(outcome="recovered")}


@pytest.mark.parametrize("place", PLACES)
def test_kill_leaves_nothing_lost_and_nothing_held(lab, place):
    # Reproducible: the same place dies at the same counts in every run.
    chance = random.Random(place)
    for number in range(ROUNDS):
        nth = chance.randint(1, NTH_MAX.get(place, AT_ONCE))
        before = recovered_ids(lab)
        lab.daemon.stop(60)
        lab.start_daemon("tollgated-faults", {"TOLLGATE_FAULT": f"{place}:{nth}"})
        asked = asyncio.run(until_it_dies(lab, f"{place}-{number}"))
        assert lab.daemon.wait(10) == -signal.SIGKILL, lab.daemon.log()[-2000:]
        lab.start_daemon()
        assert_in_order(lab, asked)
        new = recovered_ids(lab) - before
        sessions = {each.session for each in asked}
        assert {r["session_id"] for r in lab.records() if r["id"] in new} <= sessions
        # No more than what ran at the moment.
        assert len(new) <= AT_ONCE
        if place in ("hold_durable", "request_sent", "answer_begun"):
            assert new, "a request died with a durable hold, and none was recovered"
    assert post(lab, body_of()).status == 200


def test_kill_while_it_starts_recovers_each_request_once(lab):
    before = recovered_ids(lab)
    lab.daemon.stop(60)
    lab.start_daemon("tollgated-faults", {"TOLLGATE_FAULT": "answer_begun:6"})
    asked = asyncio.run(until_it_dies(lab, "twice"))
    lab.daemon.wait(10)
    # From before it opens the ledger to after it listens.
    for milliseconds in range(2, 2 + 4 * STARTS, 4):
        lab.spawn_daemon()
        try:
            lab.daemon.wait(milliseconds / 1000)
        except subprocess.TimeoutExpired:
            lab.daemon.kill()
    lab.start_daemon()
    assert_in_order(lab, asked)
    new = recovered_ids(lab) - before
    assert 0 < len(new) <= AT_ONCE
