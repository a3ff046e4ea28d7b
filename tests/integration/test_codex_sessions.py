"""Whole sessions of the real client, two versions of it: tools, sub-agents, compaction, reviews,
an interrupt; each request is metered to what the provider says of it.

The versions differ in what they ask by themselves (the new one asks for a title in the terminal)
and in how soon they hang up after an interrupt, not in what they need of a gateway.
"""

import collections
import concurrent.futures
import json
import os

import pytest

from tollgate_lab.codex import failures_of, items_of
from tollgate_lab.codex_client import POLICIES, VERSIONS_AND_MODES, CodexClient
from tollgate_lab.config import CONTACT
from tollgate_lab.lab import UNPRIVILEGED_ID, Unavailable

LAB_OPTIONS = {"limits": {"abort_drain_ms": 500}, "policies": POLICIES}
SUB_AGENTS = 3
# Both versions have the tools of sub-agents under this name when the feature is on.
AGENTS_FEATURE = ("--enable", "multi_agent_v2")
ONE_TRY = ("-c", "model_providers.tollgate.request_max_retries=0",
           "-c", "model_providers.tollgate.stream_max_retries=0")


@pytest.fixture(params=VERSIONS_AND_MODES, ids="-".join)
def client(codex, request):
    return CodexClient(codex, *request.param)


@pytest.fixture
def repository(codex):
    """A folder of alice's with something that is not committed yet."""
    folder = codex.home("alice") / "repository"
    if not folder.exists():
        folder.mkdir()
        os.chown(folder, UNPRIVILEGED_ID, UNPRIVILEGED_ID)
        made = codex.run("alice", "sh", "-c", f"cd {folder} && git init -q && git -c user.name=a "
                         "-c user.email=a@example.com commit -q --allow-empty -m first && "
                         "echo text >file && git add file")
        assert made.returncode == 0, made.stderr
    return folder


def succeeded(done):
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def calling(name, **arguments):
    return {"namespace": "collaboration", "name": name, "arguments": arguments}


def ids_of(answers):
    return sorted(answer["response_id"] for answer in answers)


def assert_metered_to_the_truth(records, seen):
    """Sums by model, and each answer by its id."""
    assert all((r["outcome"], r["estimated"]) == ("completed", False) for r in records), records
    sums = collections.Counter()
    for record in records:
        sums[record["model_served"], "in"] += record["input_tokens"]
        sums[record["model_served"], "out"] += record["output_tokens"]
    for said in seen:
        sums[said["model"], "in"] -= said["usage"]["input_tokens"]
        sums[said["model"], "out"] -= said["usage"]["output_tokens"]
    assert not any(sums.values()), sums
    assert ids_of(records) == ids_of(seen)


def assert_all_comes_to_be_metered(client, eventually):
    """In the terminal more may be asked at any time, such as a title."""
    records, seen = eventually(lambda: (client.records(), client.seen()),
                               lambda both: ids_of(both[0]) == ids_of(both[1]))
    assert_metered_to_the_truth(records, seen)


def test_text_turn(client):
    done = succeeded(client.exec("hi", mock={"events": 5, "usage": {"input_tokens": 1234}}))
    assert items_of(done, "agent_message")[-1]["text"].startswith("w0 ")
    (record,) = client.records()
    assert (record["input_tokens"], record["user"]) == (1234, "alice@example.com")
    assert_metered_to_the_truth([record], client.seen())


def test_tool_turn_with_parallel_calls(client):
    calls = [{"name": "exec_command", "arguments": {"cmd": f"echo made-$((40+{n}))"}}
             for n in range(3)]
    done = succeeded(client.exec("go", mock={"kind": "tool", "calls": calls}))
    outputs = [run["aggregated_output"] for run in items_of(done, "command_execution")]
    # The older one reports a command that took long before it has its output.
    assert len(outputs) == 3
    assert set(outputs) - {""} <= {"made-40\n", "made-41\n", "made-42\n"}
    assert [s["scenario"].get("kind", "text") for s in client.seen()] == ["tool", "text"]
    assert_metered_to_the_truth(client.records(), client.seen())


def test_apply_patch_changes_the_file(client):
    name = f"patched-{client.version}-{client.mode}.txt"
    patch = f"*** Begin Patch\n*** Add File: {name}\n+by the patch\n*** End Patch\n"
    done = succeeded(client.exec("go", mock={
        "kind": "tool", "calls": [{"name": "apply_patch", "input": patch}]}))
    assert items_of(done, "file_change")[0]["status"] == "completed"
    made = client.lab.home("alice") / "work" / name
    assert made.read_text(encoding="utf-8") == "by the patch\n"
    assert_metered_to_the_truth(client.records(), client.seen())


def test_unknown_events_and_items_pass(client):
    item = {"type": "hologram", "id": "h_1", "content": {"depth": 3}}
    events = [{"type": "response.hologram.delta", "delta": "\u2603"},
              {"type": "response.output_item.done", "output_index": 9, "item": item}]
    done = succeeded(client.exec("hi", mock={"extra_events": events}))
    assert items_of(done, "agent_message")[-1]["text"].startswith("Hello ")
    assert_metered_to_the_truth(client.records(), client.seen())


def test_sub_agents_run_in_parallel_and_are_told_apart(client, eventually):
    all_begun, at_end = client.lab.gate(), client.lab.gate()
    # None ends before each has begun; the first agent ends when all others have.
    spawn = [calling("spawn_agent", task_name=f"task_{n}", fork_turns="none", message="work mock:"
                     + json.dumps({"gate": all_begun.name, "gate_after": 2,
                                   "gate_count": SUB_AGENTS, "usage": {"input_tokens": 100 + n}}))
             for n in range(SUB_AGENTS)]
    script = [{"kind": "tool", "calls": spawn},
              {"gate": at_end.name, "gate_after": 2, "text": "all done"}]
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        running = pool.submit(client.exec, "go", *AGENTS_FEATURE, mock={"script": script})
        try:
            eventually(lambda: len(client.records(subagent="collab_spawn")),
                       lambda count: count == SUB_AGENTS)
        finally:
            at_end.open()
        done = succeeded(running.result())
    assert items_of(done, "agent_message")[-1]["text"] == "all done"
    records = client.records()
    assert len({record["session_id"] for record in records}) == 1
    of_agents = [record for record in records if record["subagent"] == "collab_spawn"]
    assert sorted(record["input_tokens"] for record in of_agents) == [100, 101, 102]
    assert len({record["thread_id"] for record in of_agents}) == SUB_AGENTS
    assert_metered_to_the_truth(records, client.seen())


def test_compaction_in_the_middle_of_a_turn(client):
    done = succeeded(client.exec("go", "-c", "model_auto_compact_token_limit=900", mock={
        "kind": "tool", "cmd": "echo once"}))
    assert items_of(done, "command_execution")[0]["exit_code"] == 0
    assert [s["request_kind"] for s in client.seen()] == ["turn", "compaction", "turn"]
    assert_metered_to_the_truth(client.records(), client.seen())


def test_review(client, repository):
    done = client.lab.run("alice", "sh", "-c", f"cd {repository} && exec \"$@\"", "sh",
                          client.command, "exec", "review", "--json", *client.options,
                          "--uncommitted")
    succeeded(done)
    assert items_of(done, "agent_message")[-1]["text"] == "Hello from the mock provider."
    records = client.records()
    assert [record["subagent"] for record in records] == ["review"]
    assert_metered_to_the_truth(records, client.seen())


def test_failure_inside_the_stream_is_the_providers_sentence(client):
    done = client.exec("hi", mock={"kind": "failed", "code": "invalid_prompt",
                                   "message": "The provider's own words."})
    assert failures_of(done) == ["The provider's own words."]
    assert [record["outcome"] for record in client.records()] == ["failed"]


def test_broken_stream_is_asked_again_by_the_client(client):
    script = [{"kind": "reset", "after": 3},
              {"kind": "no_terminal", "after": 3}, {"text": "at last"}]
    done = succeeded(client.exec("hi", mock={"script": script}))
    assert items_of(done, "agent_message")[-1]["text"] == "at last"
    outcomes = sorted(record["outcome"] for record in client.records())
    assert outcomes == ["completed", "upstream_error", "upstream_error"]


def test_rejected_key_is_told_by_the_gateway(client):
    """The client must not take the provider's 401 for its own, and must not see its words."""
    done = client.exec("hi", *ONE_TRY, mock={"kind": "http_error", "status": 401})
    (told,) = failures_of(done)
    assert "did not accept the gateway's key" in told and CONTACT in told
    assert "on purpose" not in done.stdout


@pytest.fixture
def terminal(client):
    try:
        with client.terminal() as tui:
            yield tui
    except Unavailable as missing:
        pytest.skip(str(missing))


def test_interrupt_is_settled_as_an_estimate(client, terminal, eventually):
    gate = client.lab.gate()
    terminal.say("hi mock:" + json.dumps({"gate": gate.name, "gate_after": 6, "events": 2000,
                                          "pace_ms": 10}))
    eventually(gate.waiting)
    terminal.key("Escape")
    terminal.expect("Conversation interrupted")
    # The new client hangs up at once, the old one when the next event comes.
    gate.open()
    aborted = eventually(lambda: client.records(outcome="client_abort"))
    assert [(record["estimated"], record["cost_nano_usd"] > 0) for record in aborted] == [
        (True, True)]
    terminal.say("hello again")
    terminal.expect("Hello from the mock provider.")


def test_compaction_by_hand(client, terminal, eventually):
    terminal.say("hello there")
    terminal.expect("Hello from the mock provider.")
    # Compaction is refused while the turn is still ending.
    if client.version == "new":
        terminal.expect("Worked for")
    eventually(lambda: "esc to interrupt" not in terminal.screen())
    terminal.say("/compact")
    terminal.expect("Context compacted")
    # The newer one also asks for a title, whenever it comes to it.
    expected = ["compaction", "turn"] + ["turn"] * (client.version == "new")
    eventually(lambda: sorted(s["request_kind"] for s in client.seen()),
               lambda kinds: kinds == expected)
    assert_all_comes_to_be_metered(client, eventually)


def test_review_in_the_terminal(client, repository, eventually):
    with client.terminal(repository) as tui:
        tui.say("/review")
        tui.expect("Select a review preset")
        tui.key("2")
        eventually(lambda: client.records(subagent="review"))
        tui.expect("Hello from the mock provider.")
    assert_all_comes_to_be_metered(client, eventually)
