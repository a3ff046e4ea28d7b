"""Access that ends now: what runs is cut and settled, with a sentence, and others do not notice."""

import asyncio
import contextlib
import dataclasses
import itertools
import json
import sqlite3
import threading

import pytest

from tollgate_lab.budgets import ALICE, BOB, GROUPS, PLENTY, engineering
from tollgate_lab.client import TERMINAL, AsyncStream, Connection, body_of, post, request_bytes
from tollgate_lab.config import CONTACT, CONTRACTOR_MODEL, DENIED_MODEL, USERS

ALICES, BOBS = 100, 20
WITHIN_S = 1.0
WHY = "laptop lost"
SENTENCE = f"Access of {ALICE} was revoked by an administrator ({WHY}); {CONTACT}."
LAB_OPTIONS = {"groups": GROUPS, "policies": engineering(PLENTY)}


@pytest.fixture(autouse=True)
def nobody_is_revoked(lab, eventually):
    yield
    for revocation in lab.status()["revocations"]:
        lab.ctl("restore", revocation["subject"])
    lab.change_rules(policies=engineering(PLENTY), groups=GROUPS)
    eventually(lab.held, lambda held: held == 0)


def revoke(lab, subject=ALICE):
    return json.loads(lab.ctl("revoke", subject, "--why", WHY, "--json").stdout)


@dataclasses.dataclass
class Seen:
    """One stream as its client saw it."""
    status: int = 0
    times: list = dataclasses.field(default_factory=list)  # of the events
    response: dict | None = None  # of the terminal event
    error: dict | None = None     # of an answer that is none
    ended: float = 0              # the connection's end; 0 where it was not in order

    @property
    def why(self):
        return (self.error or self.response["error"])["message"]


async def watch(lab, seen, body, name="alice"):
    stream = await AsyncStream.open(lab, body, name)
    clock = asyncio.get_running_loop().time
    try:
        seen.status = await stream.head()
        if seen.status != 200:
            seen.error = json.loads(await stream.body())["error"]
            return seen
        async for event in stream.events():
            seen.times.append(clock())
            if event["type"] in TERMINAL:
                seen.response = event["response"]
        if seen.response["status"] == "failed":
            assert await stream.reader.read(1) == b""
            seen.ended = clock()
        return seen
    finally:
        stream.close()


def start_all(lab, count, body, name="alice"):
    seen = [Seen() for _ in range(count)]
    return seen, [asyncio.create_task(watch(lab, each, body, name)) for each in seen]


async def all_have(seen, events, tasks=()):
    async with asyncio.timeout(120):
        while min(len(each.times) for each in seen) < events:
            for task in tasks:
                if task.done():
                    task.result()
            await asyncio.sleep(0.02)


def gaps(seen, since, until):
    return [after - before for each in seen for before, after in itertools.pairwise(each.times)
            if since <= after < until]


def refused(answer, why=SENTENCE):
    return (answer.status, answer.error["code"], answer.error["message"]) == (
        400, "invalid_prompt", why)


def test_hundred_streams_end_within_a_second_and_others_do_not_notice(lab, eventually):
    async def scene():
        clock = asyncio.get_running_loop().time
        alices, cut = start_all(lab, ALICES, body_of(mock={"events": 100_000, "pace_ms": 500}))
        await all_have(alices, 2, cut)
        bobs, whole = start_all(lab, BOBS, body_of(CONTRACTOR_MODEL, mock={
            "events": 50, "pace_ms": 200}), "bob")
        await all_have(bobs, 15, whole)
        began = clock()
        await asyncio.to_thread(revoke, lab)
        async with asyncio.timeout(30):
            await asyncio.gather(*cut)
            held = await asyncio.to_thread(lab.limits_of, ALICE)
            await asyncio.gather(*whole)
        return began, alices, bobs, [row["held"] for row in held]

    began, alices, bobs, held = asyncio.run(scene())
    took = [each.ended - began for each in alices]
    print(f"revoked: {ALICES} streams ended after {min(took):.3f} to {max(took):.3f} s")
    assert max(took) < WITHIN_S
    for each in alices:
        assert (each.response["error"]["code"], each.why) == ("invalid_prompt", SENTENCE)
    assert held == [0]
    records = lab.records(user=ALICE, outcome="cut")
    assert len(records) == ALICES
    for record in records:
        assert (record["refusal_code"], record["estimated"]) == ("access_revoked", True)
        assert record["cost_nano_usd"] > 0 and record["http_status"] == 200
    assert [each.response["status"] for each in bobs] == ["completed"] * BOBS
    normal = max(gaps(bobs, 0, began))
    meanwhile = max(gaps(bobs, began, began + 2))
    print(f"others: longest gap {normal:.3f} s before, {meanwhile:.3f} s meanwhile")
    assert meanwhile <= 2 * normal


def test_revoked_is_refused_in_words_until_restored_also_after_a_restart(lab):
    with Connection(lab) as before:
        before.send(request_bytes(body=body_of()))
        assert before.response().status == 200
        done = revoke(lab)
        assert done["durable"] and USERS["alice"]["address"] in done["addresses"]
        before.send(request_bytes(body=body_of()))
        assert refused(before.response()), "the connection of before"
    assert refused(post(lab, body_of()))
    assert post(lab, body_of(CONTRACTOR_MODEL), "bob").status == 200
    assert ALICE in lab.ctl("status").stdout.split("\nrevoked ")[1]
    peers = {peer["user"]: peer for peer in json.loads(lab.ctl("peers", "--json").stdout)}
    assert peers[ALICE]["revoked"]["reason"] == WHY and peers[BOB]["revoked"] is None
    explained = json.loads(lab.ctl("explain", ALICE, "--model", "gpt-5.5", "--json").stdout)
    assert (explained["allowed"], explained["code"]) == (False, "access_revoked")
    assert f"revoke {ALICE}, reason '{WHY}': done" in lab.daemon.log()
    lab.restart_daemon()
    assert refused(post(lab, body_of()))
    lab.ctl("restore", ALICE)
    assert post(lab, body_of()).status == 200
    assert lab.status()["revocations"] == []


def test_address_is_a_subject_and_an_unknown_one_is_refused(lab):
    import socket
    revoke(lab, USERS["alice"]["address"])
    assert refused(post(lab, body_of()))
    assert post(lab, body_of(), family=socket.AF_INET6).status == 200
    for verb, subject in (("revoke", "nobody@example.com"), ("revoke", "10.99.0.66"),
                          ("restore", BOB)):
        done = lab.ctl(verb, subject, check=False)
        assert done.returncode == 3 and subject in done.stderr and "hint:" in done.stderr


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_answer_that_has_not_begun_is_a_refusal(lab, eventually, stream):
    gate = lab.gate()

    async def scene():
        (seen,), tasks = start_all(lab, 1, body_of(stream=stream, mock={"gate": gate.name}))
        await gate.reached(1)
        await asyncio.to_thread(revoke, lab)
        await asyncio.wait_for(tasks[0], 5)
        return seen

    before = len(lab.records(outcome="cut"))
    seen = asyncio.run(scene())
    gate.open()
    assert (seen.status, seen.error["code"], seen.why) == (400, "invalid_prompt", SENTENCE)
    assert len(lab.records(outcome="cut")) == before + 1
    eventually(lab.held, lambda held: held == 0)


def test_client_that_does_not_read_is_closed(lab, eventually):
    flood = {"events": 2_000, "event_bytes": 16_384}
    with Connection(lab) as deaf:
        deaf.send(request_bytes(body=body_of(mock=flood)))
        assert deaf.head()[0] == 200
        revoke(lab)
        eventually(lambda: lab.status()["requests_running"], lambda n: n == 0, seconds=5)
        eventually(lambda: lab.status()["connections"], lambda n: n == 0, seconds=15)


def test_group_change_cuts_only_what_is_no_longer_allowed(lab):
    gate = lab.gate()
    waiting = {"gate": gate.name, "gate_after": 3}

    async def scene():
        (denied,), cut = start_all(lab, 1, body_of(DENIED_MODEL, mock=waiting))
        allowed, whole = start_all(lab, 2, body_of(CONTRACTOR_MODEL, mock=waiting))
        others, theirs = start_all(lab, 2, body_of(CONTRACTOR_MODEL, mock=waiting), "bob")
        await gate.reached(5)
        await asyncio.to_thread(lab.change_rules, groups={
            "engineering": ["bob"], "contractors": ["alice"]})
        await asyncio.wait_for(cut[0], 5)
        gate.open()
        await asyncio.gather(*whole, *theirs)
        return denied, allowed + others

    with Connection(lab) as kept:
        kept.send(request_bytes(body=body_of(CONTRACTOR_MODEL)))
        assert kept.response().status == 200
        denied, others = asyncio.run(scene())
        kept.send(request_bytes(body=body_of(CONTRACTOR_MODEL)))
        assert kept.response().status == 200, "the same machine of the same user"
    assert denied.response["error"]["code"] == "invalid_prompt"
    assert DENIED_MODEL in denied.why and CONTRACTOR_MODEL in denied.why and denied.ended
    assert [each.response["status"] for each in others] == ["completed"] * 4
    (record,) = lab.records(refusal_code="model_denied", outcome="cut")
    assert record["user"] == ALICE and record["estimated"]


def test_new_user_at_an_address_inherits_nothing(lab):
    carol = "carol@example.com"
    gate = lab.gate()

    async def scene():
        seen, tasks = start_all(lab, 3, body_of(mock={"gate": gate.name, "gate_after": 3}))
        await gate.reached(3)
        text = lab.config.read_text()
        lab.write_config(text=text.replace(f'user = "{ALICE}"', f'user = "{carol}"').replace(
            f'members = ["{BOB}"]', f'members = ["{BOB}", "{carol}"]'))
        assert await asyncio.to_thread(lab.reload)
        await asyncio.wait_for(asyncio.gather(*tasks), 5)
        return seen

    with Connection(lab) as kept:
        kept.send(request_bytes(body=body_of()))
        assert kept.response().status == 200
        seen = asyncio.run(scene())
        kept.send(request_bytes(body=body_of()))
        answer = kept.response()
        assert answer.status == 400 and "changed since it connected" in answer.error["message"]
    gate.open()
    assert all("changed since it connected" in each.why and each.ended for each in seen)
    assert len(lab.records(user=ALICE, refusal_code="identity_changed", outcome="cut")) == 3
    assert post(lab, body_of(DENIED_MODEL)).status == 403
    assert post(lab, body_of(CONTRACTOR_MODEL)).status == 200
    assert [r["outcome"] for r in lab.records(user=carol)].count("completed") == 1


def test_store_that_cannot_record_it_does_not_keep_the_door_open(lab, eventually):
    """Somebody else writes to the ledger for longer than anyone waits."""
    gate = lab.gate()
    answers = {}

    async def scene():
        (seen,), tasks = start_all(lab, 1, body_of(mock={"gate": gate.name, "gate_after": 3}))
        await gate.reached(1)
        with contextlib.closing(sqlite3.connect(lab.state / "ledger.sqlite",
                                                isolation_level=None)) as ledger:
            ledger.execute("BEGIN IMMEDIATE")
            command = threading.Thread(target=lambda: answers.update(done=lab.ctl(
                "revoke", ALICE, "--why", WHY, check=False)))
            command.start()
            await asyncio.wait_for(tasks[0], 20)  # told without its record
            answers["new"] = await asyncio.to_thread(post, lab, body_of())
            await asyncio.to_thread(command.join)
            ledger.execute("ROLLBACK")
        return seen

    seen = asyncio.run(scene())
    gate.open()
    assert seen.why == SENTENCE
    assert refused(answers["new"])
    assert answers["done"].returncode == 5 and "ends with the daemon" in answers["done"].stderr
    assert any("not on disk" in problem for problem in lab.status()["problems"])
    assert lab.ctl("revoke", ALICE, check=False).returncode == 0, "again, and it is recorded"
    eventually(lambda: lab.status()["problems"], lambda problems: problems == [])


def test_codex_prints_the_sentence_in_the_middle_of_an_answer(codex):
    lab, gate, done = codex, codex.gate(), []
    scenario = json.dumps({"gate": gate.name, "gate_after": 5})
    requests = lab.counter("requests")
    client = threading.Thread(
        target=lambda: done.append(lab.codex_exec("alice", f"hi mock:{scenario}")))
    client.start()
    asyncio.run(gate.reached(1, 120))
    revoke(lab)
    client.join(60)
    gate.open()
    (result,) = done
    events = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
    failed = [event["error"]["message"] for event in events if event["type"] == "turn.failed"]
    assert failed == [SENTENCE], result.stdout + result.stderr
    assert lab.counter("requests") == requests + 1
