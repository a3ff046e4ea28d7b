"""Grants, resets, restarts and reloads: what was consumed stays, unless someone says so."""

import asyncio
import os
import signal

import pytest

from tollgate_lab.budgets import (ALICE, BOB, GROUPS, assert_budget_refusal, begin_anew,
                                  engineering, ids, new_records, strictly)
from tollgate_lab.client import body_of, post
from tollgate_lab.crowd import ask

ROUNDS = int(os.environ.get("TOLLGATE_REPEAT", "3"))
LAB_OPTIONS = {"plain_http": True, "groups": GROUPS}


@pytest.fixture
def own(make_lab):
    """A lab for tests that grant: a grant ends by time alone."""
    return make_lab(**LAB_OPTIONS)


@pytest.fixture(autouse=True)
def nothing_is_held(lab, eventually):
    """Each test begins with nothing consumed and leaves nothing held."""
    begin_anew(lab)
    yield
    eventually(lab.held, lambda held: held == 0)


def use_up(lab):
    """A limit that is used up after one request."""
    lab.change_rules(policies=engineering({"per": "user", "requests": 1, "window": "1h"}))
    assert post(lab, body_of()).status == 200
    assert_budget_refusal(post(lab, body_of()), "You have used")


def test_grant_opens_as_much_as_it_says_for_whom_it_says(own):
    use_up(own)
    own.ctl("grant", BOB, "--requests", "5", "--for", "1h")
    assert post(own, body_of()).status == 429
    own.ctl("grant", ALICE, "--requests", "2", "--for", "1h")
    assert [post(own, body_of()).status for _ in range(3)] == [200, 200, 429]
    assert ALICE in own.ctl("audit").stdout


def test_grant_in_dollars_moves_the_cap(own):
    own.change_rules(policies=strictly({"per": "user", "usd": "0.007", "window": "1h"}))
    assert [post(own, body_of()).status for _ in range(2)] == [200, 429]
    own.ctl("grant", ALICE, "--usd", "1.00", "--for", "1h")
    assert post(own, body_of()).status == 200


def test_grant_ends(own, eventually):
    use_up(own)
    own.ctl("grant", ALICE, "--requests", "1000", "--for", "5s")
    assert post(own, body_of()).status == 200
    eventually(lambda: post(own, body_of()).status, lambda status: status == 429, seconds=30)


def test_reset_begins_anew_for_one_subject(lab):
    use_up(lab)
    lab.ctl("reset", BOB)
    assert post(lab, body_of()).status == 429
    lab.ctl("reset", ALICE)
    assert lab.the_limit(ALICE, unit="requests")["used"] == 0
    assert [post(lab, body_of()).status for _ in range(2)] == [200, 429]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_consumption_grants_and_resets_outlive_a_restart(own, number):
    use_up(own)
    own.ctl("reset", ALICE)
    own.ctl("grant", ALICE, "--requests", "2", "--for", "1h")
    assert [post(own, body_of()).status for _ in range(2)] == [200, 200]
    before = own.the_limit(ALICE, unit="requests")
    own.daemon.signal(number)
    own.daemon.wait(60)
    own.start_daemon()
    after = own.the_limit(ALICE, unit="requests")
    for name in ("used", "held", "left", "limit"):
        assert after[name] == before[name], name
    assert [post(own, body_of()).status for _ in range(2)] == [200, 429]


def test_edited_and_renamed_limits_keep_what_was_consumed(lab):
    lab.change_rules(policies=engineering({"per": "user", "requests": 2, "window": "1h"}))
    gate = lab.gate()
    asked = []

    async def scene():
        task = asyncio.create_task(ask(lab, body_of(mock={"gate": gate.name, "gate_after": 3})))
        await gate.reached(1)
        # Bigger under another name, and no larger than what was used in the end.
        for amount in (3, 1):
            policies = engineering({"per": "user", "requests": amount, "window": "1h"})
            policies[0]["name"] = f"renamed-{amount}"
            lab.change_rules(policies=policies)
            asked.append((amount, lab.the_limit(ALICE, unit="requests")))
        gate.open()
        return await task

    assert post(lab, body_of()).status == 200
    assert asyncio.run(scene()).completed, "the stream did not outlive the reload"
    for amount, row in asked:
        assert (row["limit"], row["used"], row["held"]) == (amount, 1, 1)
    assert lab.the_limit(ALICE, unit="requests")["used"] == 2
    assert post(lab, body_of()).status == 429
    lab.change_rules(policies=engineering({"per": "user", "requests": 3, "window": "1h"}))
    assert [post(lab, body_of()).status for _ in range(2)] == [200, 429]


def test_new_limit_counts_what_its_window_already_has(lab):
    for _ in range(3):
        assert post(lab, body_of()).status == 200
    lab.change_rules(policies=engineering({"per": "user", "requests": 4, "window": "2h"}))
    assert lab.the_limit(ALICE, unit="requests")["used"] == 3
    assert [post(lab, body_of()).status for _ in range(2)] == [200, 429]


def test_limits_that_come_under_load_count_each_request_once(lab, eventually):
    """A new window is a new account: it is filled from the ledger while requests settle."""
    for _ in range(ROUNDS):
        lab.ctl("reset", ALICE)
        before = ids(lab)

        async def client():
            return [await ask(lab, body_of(mock={"usage": {"input_tokens": 100 + turn}}))
                    for turn in range(20)]

        async def scene():
            clients = [asyncio.create_task(client()) for _ in range(16)]
            hours = 2
            while not all(task.done() for task in clients):
                hours += 1
                limits = [{"per": "user", "usd": "1000.00", "window": f"{hours}h"},
                          {"per": "user", "requests": 1_000_000, "window": f"{hours + 1}h"}]
                await asyncio.to_thread(lab.change_rules, policies=engineering(*limits))
            return hours, await asyncio.gather(*clients)

        reloads, told = asyncio.run(scene())
        assert reloads > 4 and all(t.completed for answers in told for t in answers)
        eventually(lab.held, lambda held: held == 0)
        records = new_records(lab, before)
        assert len(records) == 16 * 20
        used = {row["unit"]: row["used"] for row in lab.limits_of(ALICE)}
        assert used == {"usd": sum(r["cost_nano_usd"] for r in records), "requests": 16 * 20}
