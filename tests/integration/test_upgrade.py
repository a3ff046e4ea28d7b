"""A new daemon takes over from a running one: no connection is refused, nothing is lost or doubled,
and no limit is exceeded."""

import asyncio
import json
import signal
import subprocess

import pytest

from tollgate_lab import net
from tollgate_lab.client import TERMINAL, AsyncStream, body_of, post
from tollgate_lab.config import USERS, default_policies
from tollgate_lab.crowd import ask
from tollgate_lab.lab import default_build, find_program
from tollgate_lab.prices import cost_nano_usd

ALICE = USERS["alice"]["user"]
PLENTY = [{"per": "user", "usd": "1000.00", "window": "24h"},
          {"per": "group", "tokens": 1_000_000_000, "window": "24h"}]
STREAMS = 200
CLIENTS = 10
EVENTS = 12


@pytest.fixture
def lab(make_lab):
    return make_lab(policies=default_policies(limits=PLENTY), limits={"drain_ms": 3000})


@pytest.fixture
def small_lab(make_lab):
    return make_lab(policies=default_policies(limits=PLENTY), limits={"drain_ms": 3000},
                    steering="userspace", io="poll")


async def begin(lab, count, gate):
    """So many streams, each at the gate after its first events."""
    scenario = {"events": EVENTS, "gate": gate.name, "gate_after": 4}
    bodies = [body_of(text=f"stream {n}", mock=scenario) for n in range(count)]
    streams = []
    for at in range(0, count, 20):
        some = await asyncio.gather(*(AsyncStream.open(lab, body) for body in bodies[at:at + 20]))
        for stream in some:
            assert await stream.head() == 200
        streams += some
    await gate.reached(count, seconds=60)
    return streams


async def read_on(stream):
    """How many text events came, and the terminal event; None where the stream broke."""
    deltas, response = 0, None
    try:
        async for event in stream.events():
            deltas += event["type"] == "response.output_text.delta"
            if event["type"] in TERMINAL:
                response = event["response"]
    except (asyncio.IncompleteReadError, OSError):
        pass
    finally:
        stream.close()
    return deltas, response


class Clients:
    """Some that ask all the time, each request on a connection of its own."""

    def __init__(self, lab):
        self.lab = lab
        self.told = []
        self.stopping = False
        self.tasks = [asyncio.create_task(self._run(n)) for n in range(CLIENTS)]

    async def _run(self, number):
        while not self.stopping:
            body = body_of(text=f"client {number}", mock={"events": 3})
            self.told.append(await ask(self.lab, body))

    async def more(self, count):
        target = len(self.told) + count
        async with asyncio.timeout(60):
            while len(self.told) < target:
                await asyncio.sleep(0.02)

    async def stop(self):
        self.stopping = True
        await asyncio.gather(*self.tasks)
        return self.told


async def in_thread(function, *arguments):
    return await asyncio.get_running_loop().run_in_executor(None, function, *arguments)


def used(lab):
    return lab.the_limit(unit="usd", subject=ALICE)["used"]


def recorded(lab):
    return sum(r["cost_nano_usd"] for r in lab.records())


def program_ids(lab):
    (folder,) = (lab.bpffs / "tollgate").iterdir()
    shown = [json.loads(subprocess.run(["bpftool", "-j", "prog", "show", "pinned", str(folder / "set" / name)],
                                       capture_output=True, text=True, check=True).stdout)["id"]
             for name in ("tg_steer", "tg_identify")]
    return folder, shown


def assert_in_order(lab, requests):
    """The ledger has what the provider gave, once each, and the limits count just that."""
    records = lab.records()
    assert len({r["id"] for r in records}) == len(records) == requests
    assert {r["outcome"] for r in records} == {"completed"}
    exchanges = lab.mock_seen(method="POST")
    assert sorted(r["response_id"] for r in records) == sorted(e["response_id"] for e in exchanges)
    truth = sum(cost_nano_usd(e["model"], e["usage"]) for e in exchanges)
    assert recorded(lab) == used(lab) == truth
    tokens = sum(e["usage"]["input_tokens"] + e["usage"]["output_tokens"] for e in exchanges)
    assert lab.the_limit(unit="tokens", subject="engineering")["used"] == tokens
    assert lab.held() == 0
    limits = lab.status()["limits"]
    assert (limits["holds_open"], limits["holds_leaked"], limits["holds_recovered"]) == (0, 0, 0)


def test_streams_and_new_requests_pass_through_two_upgrades(lab, eventually):
    async def scene(count):
        gate = lab.gate()
        streams = await begin(lab, count, gate)
        clients = Clients(lab)
        await clients.more(CLIENTS)
        before = await in_thread(lab.upgrade_daemon)
        await clients.more(3 * CLIENTS)
        told = await clients.stop()
        # All that still runs is the streams, and the new process knows what is held for each.
        eventually(lambda: lab.status()["limits"]["holds_open"], lambda open_: open_ == count)
        held = lab.the_limit(unit="usd", subject=ALICE)["held"]
        assert held > 0 and used(lab) == recorded(lab)
        predecessor = eventually(lambda: lab.status()["predecessor"],
                                 lambda p: p and p["requests"] == count)
        assert predecessor["pid"] == before.pid
        assert f"predecessor pid {before.pid} drains {count} streams" in lab.ctl("status").stdout
        gate.open()
        return before, told, await asyncio.gather(*(read_on(s) for s in streams))

    folder, first_ids = program_ids(lab)
    requests = 0
    for count in (STREAMS, 20):
        before, told, streams = asyncio.run(scene(count))
        assert [t.status for t in told] == [200] * len(told)
        assert all(t.completed for t in told)
        assert {deltas for deltas, _ in streams} == {EVENTS}
        assert all(response["status"] == "completed" for _, response in streams)
        assert before.wait(60) == 0, before.log()[-3000:]
        eventually(lambda: lab.status()["predecessor"], lambda p: p is None)
        requests += len(told) + count
        eventually(lambda: (lab.held(), used(lab) - recorded(lab)), lambda both: both == (0, 0))
        assert_in_order(lab, requests)
        assert not set(program_ids(lab)[1]) & set(first_ids), "the programs are new"
        assert post(lab, body_of()).status == 200
        requests += 1
    assert lab.status()["steering"]["mode"] == "bpf"
    lab.daemon.stop(60)
    assert sorted(each.name for each in folder.iterdir()) == ["set"]
    program = str(find_program(lab.build, "tollgated"))
    subprocess.run(net.entering(lab.gateway, program, "--uninstall", str(lab.config)), check=True)
    assert not (lab.bpffs / "tollgate").exists()


@pytest.mark.parametrize("place", ["upgrade_asked", "upgrade_steering", "upgrade_ready"])
def test_new_daemon_that_dies_before_it_is_ready_changes_nothing(lab, place):
    try:
        find_program(default_build(), "tollgated-faults")
    except RuntimeError as missing:
        pytest.skip(str(missing))

    async def scene():
        gate = lab.gate()
        streams = await begin(lab, 5, gate)
        clients = Clients(lab)
        before = lab.daemon
        await clients.more(CLIENTS)
        lab.spawn_daemon("tollgated-faults", {"TOLLGATE_FAULT": f"{place}:1"}, "--upgrade")
        assert await in_thread(lab.daemon.wait, 60) == -signal.SIGKILL, lab.daemon.log()[-3000:]
        lab.daemon = before
        await clients.more(2 * CLIENTS)
        told = await clients.stop()
        gate.open()
        return told, await asyncio.gather(*(read_on(s) for s in streams))

    told, streams = asyncio.run(scene())
    assert all(t.completed for t in told)
    assert {deltas for deltas, _ in streams} == {EVENTS}
    status = lab.status()
    assert (status["pid"], status["predecessor"]) == (lab.daemon.pid, None)
    assert lab.reload()
    assert_in_order(lab, len(told) + 5)
    before = lab.upgrade_daemon()
    assert before.wait(60) == 0
    assert post(lab, body_of()).status == 200


def test_old_daemon_killed_while_it_drains_is_recovered(small_lab, eventually):
    lab = small_lab

    async def scene():
        gate = lab.gate()
        streams = await begin(lab, 8, gate)
        before = await in_thread(lab.upgrade_daemon)
        held = lab.the_limit(unit="usd", subject=ALICE)["held"]
        before.kill()
        readers = await asyncio.gather(*(read_on(s) for s in streams))
        gate.open()
        return held, readers

    held, readers = asyncio.run(scene())
    assert all(response is None for _, response in readers)
    eventually(lambda: lab.status()["predecessor"], lambda p: p is None)
    records = lab.records()
    assert [r["outcome"] for r in records] == ["recovered"] * 8
    assert recorded(lab) == used(lab) == held == sum(r["hold_cost_nano_usd"] for r in records)
    assert lab.held() == 0
    assert lab.status()["limits"]["holds_recovered"] == 8
    assert post(lab, body_of()).status == 200
    lab.restart_daemon()
    assert used(lab) == recorded(lab)


def test_limit_is_not_exceeded_across_an_upgrade(small_lab, eventually):
    lab = small_lab
    limits = [*PLENTY, {"per": "user", "requests": 10, "window": "24h"}]
    lab.change_rules(policies=default_policies(limits=limits))

    async def scene():
        gate = lab.gate()
        streams = await begin(lab, 6, gate)
        before = await in_thread(lab.upgrade_daemon)
        row = lab.the_limit(unit="requests", subject=ALICE)
        assert (row["used"], row["held"]) == (0, 6)
        told = await asyncio.gather(*(ask(lab, body_of()) for _ in range(12)))
        gate.open()
        return before, told, await asyncio.gather(*(read_on(s) for s in streams))

    before, told, streams = asyncio.run(scene())
    assert sorted(t.status for t in told) == [200] * 4 + [429] * 8
    assert all(response["status"] == "completed" for _, response in streams)
    assert before.wait(60) == 0
    eventually(lambda: lab.the_limit(unit="requests", subject=ALICE)["used"], lambda n: n == 10)
    assert post(lab, body_of()).status == 429


def test_one_upgrade_at_a_time_and_none_of_nothing(small_lab):
    lab = small_lab

    def refused():
        serving = lab.daemon
        lab.spawn_daemon("tollgated", None, "--upgrade")
        tried, lab.daemon = lab.daemon, serving
        assert tried.wait(60) == 3
        return tried.log()

    async def scene():
        gate = lab.gate()
        streams = await begin(lab, 2, gate)
        before = await in_thread(lab.upgrade_daemon)
        assert f"still waits for the one before it, pid {before.pid}" in await in_thread(refused)
        gate.open()
        return before, await asyncio.gather(*(read_on(s) for s in streams))

    before, streams = asyncio.run(scene())
    assert all(response["status"] == "completed" for _, response in streams)
    assert before.wait(60) == 0
    lab.daemon.stop(60)
    assert "start this one without --upgrade" in refused()


def test_stop_ends_both(small_lab):
    lab = small_lab

    async def scene():
        gate = lab.gate()
        streams = await begin(lab, 4, gate)
        before = await in_thread(lab.upgrade_daemon)
        streams += await begin(lab, 3, lab.gate())
        lab.daemon.signal(signal.SIGTERM)
        readers = await asyncio.gather(*(read_on(s) for s in streams))
        gate.open()
        return before, readers

    before, readers = asyncio.run(scene())
    assert all(response is None for _, response in readers)
    assert lab.daemon.wait(30) == 0
    assert before.wait(30) == 0
    lab.start_daemon()
    assert [r["outcome"] for r in lab.records()] == ["cut"] * 7
    assert recorded(lab) == used(lab)


def test_reload_reaches_what_the_old_daemon_still_runs(small_lab, eventually):
    lab = small_lab

    async def scene():
        gate = lab.gate()
        streams = await begin(lab, 1, gate)
        before = await in_thread(lab.upgrade_daemon)
        assert lab.reload()
        eventually(lambda: before.log().count("reloaded:"), lambda count: count == 2)
        gate.open()
        return await asyncio.gather(*(read_on(s) for s in streams))

    assert all(response["status"] == "completed" for _, response in asyncio.run(scene()))
