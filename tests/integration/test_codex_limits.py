"""What a developer reads in the real client when a limit is near, reached, or leads elsewhere."""

import re
import threading

import pytest

from tollgate_lab.client import Connection, body_of, post, request_bytes
from tollgate_lab.codex import failures_of
from tollgate_lab.codex_client import SETTLED
from tollgate_lab.config import CONTACT, USERS, default_policies
from tollgate_lab.lab import Unavailable
from tollgate_lab.tui import Tui

ALICE = USERS["alice"]["user"]
TOKENS = 10_000_000
LAB_OPTIONS = {"policies": default_policies(
    websocket=True, limits=[{"per": "user", "tokens": TOKENS, "window": "24h"}])}
READY = "To get started"


def use(lab, percent):
    """Consumption at exactly so much of the limit."""
    lab.ctl("reset", ALICE)
    tokens = TOKENS * percent // 100
    usage = {"input_tokens": tokens - 50, "output_tokens": 50}
    assert post(lab, body_of(mock={"usage": usage})).status == 200
    assert lab.the_limit(ALICE, unit="tokens")["used"] == tokens


@pytest.fixture(params=["http", "websocket"])
def tui(codex, request):
    """Over HTTP the limits come in header fields, over WebSocket in an event."""
    transport = [] if request.param == "http" else [
        "-c", "model_providers.tollgate.supports_websockets=true"]
    try:
        with Tui(codex, "alice", "codex", *SETTLED, *transport) as tui:
            tui.expect(READY)
            yield tui
    except Unavailable as missing:
        pytest.skip(str(missing))


def test_client_warns_before_the_limit(codex, tui):
    use(codex, 92)
    tui.say("hello there")
    tui.expect("Hello from the mock provider.")
    tui.expect("Heads up, you have less than 10% of your daily limit left.")
    tui.expect("daily limit: 8% left")


def test_client_is_quiet_far_from_the_limit(codex, tui):
    use(codex, 20)
    tui.say("hello there")
    tui.expect("Hello from the mock provider.")
    assert "Heads up" not in tui.screen() and "% left" not in tui.screen()


def test_used_up_limit_is_one_request_and_one_sentence(codex):
    use(codex, 100)
    requests = codex.counter("requests")
    at_provider = len(codex.mock_seen(method="POST"))
    done = codex.codex_exec("alice", "hi")
    assert done.returncode != 0
    (said,) = failures_of(done)
    assert re.fullmatch(r"You.ve hit your usage limit\. .*" + "You have used .*"
                        + re.escape(CONTACT) + r", or try again at .+\d\d.*\.", said), said
    assert "10,000,000" in said
    assert codex.counter("requests") == requests + 1
    assert codex.counter("refused", "budget_exceeded") > 0
    assert len(codex.mock_seen(method="POST")) == at_provider


def test_used_up_limit_is_said_in_the_terminal(codex, tui):
    use(codex, 100)
    tui.say("hello there")
    tui.expect("hit your usage limit. You have used")
    tui.expect("try again at")


def test_running_too_many_at_once_only_takes_a_moment_longer(codex, eventually):
    """503 slow_down: the client tries again by itself, and nobody has to read anything."""
    codex.change_rules(policies=default_policies(limits=[{"per": "user", "concurrent": 1}]))
    gate = codex.gate()
    opener = threading.Timer(1.5, gate.open)
    try:
        with Connection(codex) as first:
            first.send(request_bytes(body=body_of(mock={"gate": gate.name})))
            eventually(gate.waiting)
            opener.start()
            done = codex.codex_exec("alice", "hi")
            assert done.returncode == 0, done.stdout
            assert codex.counter("refused", "concurrency_exceeded") > 0
            assert first.response().status == 200
    finally:
        opener.cancel()
        codex.change_rules(policies=LAB_OPTIONS["policies"])


def test_downgrade_keeps_the_client_working(codex):
    codex.change_rules(policies=default_policies(limits=[
        {"per": "user", "tokens": TOKENS, "window": "24h", "on_exceed": {"model": "gpt-6-luna"}}]))
    try:
        use(codex, 100)
        done = codex.codex_exec("alice", "hi")
        assert done.returncode == 0, done.stdout
        assert "Hello from the mock provider." in done.stdout
        # A different model than it asked for is nothing the client may make a drama of.
        assert "rerouted" not in done.stdout + done.stderr
        assert "flagged" not in done.stdout + done.stderr
        assert codex.mock_seen(method="POST")[-1]["model"] == "gpt-6-luna"
    finally:
        codex.change_rules(policies=LAB_OPTIONS["policies"])
