"""The real client, without a key, through the gateway."""

import json

from tollgate_lab.codex import NO_SANDBOX, failures_of, items_of
from tollgate_lab.config import CONTACT, CONTRACTOR_MODEL, DENIED_MODEL


def test_text_turn_completes_and_is_recorded_with_the_providers_numbers(codex):
    before = len(codex.records(user="alice@example.com"))
    done = codex.codex_exec("alice", 'hi mock:{"events":5,"usage":{"input_tokens":1234}}')
    assert done.returncode == 0, done.stdout + done.stderr
    assert items_of(done, "agent_message")[-1]["text"].startswith("w0 ")
    records = codex.records(user="alice@example.com")
    assert len(records) == before + 1
    record = records[-1] if records[-1]["input_tokens"] == 1234 else records[0]
    assert (record["outcome"], record["estimated"]) == ("completed", False)
    assert (record["input_tokens"], record["output_tokens"]) == (1234, 50)
    assert record["session_id"] and record["thread_id"]


def test_tool_turn_runs_the_command_and_sends_its_output(codex):
    prompt = 'go mock:{"kind":"tool","cmd":"echo made-$((40+2))"}'
    before = len(codex.mock_seen(method="POST"))
    done = codex.codex_exec("alice", prompt, NO_SANDBOX)
    assert done.returncode == 0, done.stdout + done.stderr
    runs = items_of(done, "command_execution")
    assert [run["exit_code"] for run in runs] == [0]
    assert runs[0]["aggregated_output"] == "made-42\n"
    seen = codex.mock_seen(method="POST")[before:]
    assert [s["scenario"]["kind"] for s in seen] == ["tool", "text"]
    assert seen[1]["body_bytes"] > seen[0]["body_bytes"]


def test_denied_model_is_one_request_and_one_sentence(codex):
    requests = codex.counter("requests")
    refused = codex.counter("refused", "model_denied")
    at_provider = len(codex.mock_seen())
    done = codex.codex_exec("bob", "hi", "--model", DENIED_MODEL)
    assert done.returncode != 0
    failed = failures_of(done)
    assert len(failed) == 1
    assert DENIED_MODEL in failed[0] and CONTRACTOR_MODEL in failed[0] and CONTACT in failed[0]
    assert "unexpected status" not in failed[0] and "{" not in failed[0]
    assert codex.counter("requests") == requests + 1
    assert codex.counter("refused", "model_denied") == refused + 1
    assert len(codex.mock_seen()) == at_provider


def test_unknown_peer_reads_why(codex):
    done = codex.codex_exec("mallory", "hi")
    failed = failures_of(done)
    assert len(failed) == 1 and "10.99.0.66" in failed[0] and CONTACT in failed[0]


def test_doctor_finds_the_provider_reachable(codex):
    done = codex.run("alice", "codex", "doctor", "--json")
    report = json.loads(done.stdout)
    checks = report["checks"]
    checks = checks.values() if isinstance(checks, dict) else checks
    about = [c for c in checks if "provider" in json.dumps(c).lower()
             and "reachab" in json.dumps(c).lower()]
    assert about, done.stdout
    assert all(c["status"] in ("ok", "pass") for c in about), about
