"""A full disk: nothing is admitted that could not be recorded, and room is all it takes to heal."""

import asyncio
import threading

import pytest

from tollgate_lab.client import body_of, post
from tollgate_lab.config import USERS, default_policies
from tollgate_lab.crowd import ask, ask_all
from tollgate_lab.prices import cost_nano_usd
from tollgate_lab.process import wait_until

LIMITS = [{"per": "user", "usd": "1000.00", "window": "24h"},
          {"per": "user", "requests": 1_000_000, "window": "24h"}]
LAB_OPTIONS = {"state_size": "2m", "policies": default_policies(limits=LIMITS)}
ALICE = USERS["alice"]["user"]
WALL_MAX = 400


@pytest.fixture
def filler(lab):
    path = lab.state / "filler"
    yield path
    path.unlink(missing_ok=True)
    wait_until(lambda: post(lab, body_of()).status == 200, "admission after the disk has room")


def fill(filler):
    """Takes what is left of the ledger's disk."""
    with open(filler, "ab", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError:
            pass  # full, which is the point


async def run_into_the_wall(lab, filler):
    """Asks until one is refused. The ledger has some room of its own, so there are tasks before;
    some of them may be waiting for room, for their last event is not released without a record."""
    tasks = []
    while not any(task.done() and task.result().status == 503 for task in tasks):
        assert len(tasks) < WALL_MAX, "no refusal although the disk is full"
        fill(filler)
        tasks.append(asyncio.create_task(ask(lab, body_of())))
        await asyncio.wait(tasks[-1:], timeout=0.1)
    return tasks


def assert_ledger_is_the_truth(lab):
    records = lab.records()
    by_response = {r["response_id"]: r for r in records if r["response_id"]}
    for seen in lab.mock_seen(method="POST"):
        if not seen.get("usage"):
            continue
        record = by_response[seen["response_id"]]
        assert record["input_tokens"] == seen["usage"]["input_tokens"]
        assert record["cost_nano_usd"] == cost_nano_usd(record["model_served"], seen["usage"])
    assert lab.held() == 0
    assert lab.the_limit(ALICE, unit="usd")["used"] == sum(r["cost_nano_usd"] for r in records)


def assert_healed(lab, eventually):
    eventually(lambda: post(lab, body_of()).status, lambda status: status == 200)
    eventually(lab.held, lambda held: held == 0)
    assert_ledger_is_the_truth(lab)
    eventually(lambda: lab.status()["problems"], lambda problems: problems == [])


def test_nothing_passes_that_cannot_be_recorded(lab, filler, eventually):
    async def scene():
        tasks = await run_into_the_wall(lab, filler)
        at_provider = len(lab.mock_seen(method="POST"))
        refused = await asyncio.gather(*(ask(lab, body_of()) for _ in range(50)))
        assert {t.status for t in refused} == {503}
        assert {t.error["code"] for t in refused} == {"store_unavailable"}
        assert "cannot record usage" in refused[0].error["message"]
        assert len(lab.mock_seen(method="POST")) == at_provider
        assert any("ledger" in problem for problem in lab.status()["problems"])
        filler.unlink()
        return await asyncio.gather(*tasks)

    assert all(told.completed or told.status == 503 for told in asyncio.run(scene()))
    assert lab.counter("refused", "store_unavailable") >= 50
    assert_healed(lab, eventually)


def test_disk_that_is_full_while_streams_end_loses_none_of_them(lab, filler, eventually):
    async def scene():
        gate = lab.gate()
        body = body_of(mock={"gate": gate.name, "gate_after": 3})
        streams = [asyncio.create_task(ask(lab, body)) for _ in range(20)]
        await gate.reached(len(streams))
        tasks = await run_into_the_wall(lab, filler)
        gate.open()
        # Room comes while they wait with their last event.
        threading.Timer(1.5, filler.unlink).start()
        await asyncio.gather(*tasks)
        return await asyncio.gather(*streams)

    assert all(told.completed for told in asyncio.run(scene()))
    assert_healed(lab, eventually)


def test_restart_over_a_full_disk_keeps_what_was_consumed(lab, filler, eventually):
    ask_all(lab, [body_of() for _ in range(10)])
    eventually(lab.held, lambda held: held == 0)
    before = lab.the_limit(ALICE, unit="requests")["used"]
    lab.daemon.kill()
    fill(filler)
    # Starting needs no room, or says what is missing; either way nothing is forgotten.
    try:
        lab.start_daemon()
        assert post(lab, body_of()).status in (200, 503)
        lab.daemon.stop(60)
    except RuntimeError as error:
        assert "ledger" in str(error)
    filler.unlink()
    lab.start_daemon()
    assert lab.the_limit(ALICE, unit="requests")["used"] in (before, before + 1)
    assert_healed(lab, eventually)
