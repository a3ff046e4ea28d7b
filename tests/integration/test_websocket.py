"""The WebSocket mode of the Responses API: to a provider that speaks it, and bridged to HTTP."""

import asyncio
import json

import pytest

from tollgate_lab.client import body_of, get, post
from tollgate_lab.config import CONTRACTOR_MODEL, DENIED_MODEL, default_policies
from tollgate_lab.websocket_client import (BINARY, CLOSE, PING, PONG, TEXT, WebSocket, masked_frame)

LAB_OPTIONS = {"policies": default_policies(websocket=True),
               "limits": {"upstream_silence_ms": 3000, "keepalive_ms": 500}}
USAGE = {"input_tokens": 4321, "output_tokens": 99, "cached_tokens": 21, "reasoning_tokens": 9}


@pytest.fixture(params=["link", "bridge"])
def way(request, lab):
    """The provider speaks WebSocket, or it does not."""
    lab.write_config(provider={"websocket": request.param == "link"})
    lab.reload()
    return request.param


@pytest.fixture
def link(lab):
    lab.write_config(provider={"websocket": True})
    lab.reload()


@pytest.fixture
def bridge(lab):
    lab.write_config(provider={"websocket": False})
    lab.reload()


def record_of(lab, response_id):
    (found,) = lab.records(response_id=response_id)
    return found


def asked(lab):
    """What the provider was asked, whichever way."""
    return [seen for seen in lab.mock_seen()
            if "message" in seen or seen.get("method") == "POST"]


class Seen:
    """What the provider is asked from now on; its log comes a moment behind its answers."""

    def __init__(self, lab, eventually):
        self.lab, self.eventually = lab, eventually
        self.before = len(asked(lab))

    def __call__(self, count):
        return self.eventually(lambda: asked(self.lab)[self.before:],
                               lambda found: len(found) >= count)


@pytest.fixture
def seen(lab, eventually):
    return Seen(lab, eventually)


def kinds(events):
    return [event["type"] for event in events]


def item(text):
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


def test_answer_comes_event_by_event_and_is_metered(lab, way, seen):
    with WebSocket(lab) as socket:
        assert socket.status == 101
        events = socket.ask(mock={"usage": USAGE})
    assert kinds(events)[0] == "response.created" and kinds(events)[-1] == "response.completed"
    record = record_of(lab, events[-1]["response"]["id"])
    assert {name: record[name] for name in USAGE} == USAGE
    assert (record["outcome"], record["estimated"]) == ("completed", False)
    assert record["endpoint"] == "WS /v1/responses" and record["cost_nano_usd"] > 0
    (asked_once,) = seen(1)
    assert asked_once["path"] == "/v1/responses"
    assert bool(asked_once.get("websocket")) == (way == "link")


def test_each_message_is_a_request_of_its_own(lab, way):
    with WebSocket(lab) as socket:
        ids = [socket.ask(f"number {n}", mock={"usage": {"input_tokens": 10 + n}})[-1]["response"]["id"]
               for n in range(5)]
    assert [record_of(lab, each)["input_tokens"] for each in ids] == [10, 11, 12, 13, 14]


def test_conversation_goes_on_from_the_last_response(lab, way, seen):
    with WebSocket(lab) as socket:
        warm = socket.ask("base", generate=False)
        assert kinds(warm)[-2:] == ["response.created", "response.completed"]
        first = socket.ask("one", previous_response_id=warm[-1]["response"]["id"])
        second = socket.ask("two", previous_response_id=first[-1]["response"]["id"])
    assert kinds(second)[-1] == "response.completed"
    if way == "link":
        messages = seen(3)
        assert [each["message"] for each in messages] == [1, 2, 3]
        assert len({each["connection"] for each in messages}) == 1


def test_bridge_sends_the_whole_conversation_and_the_client_only_what_is_new(lab, bridge, seen):
    with WebSocket(lab) as socket:
        first = socket.ask("x" * 20_000)
        answered = [e["item"] for e in first if e["type"] == "response.output_item.done"]
        second = socket.ask("two", previous_response_id=first[-1]["response"]["id"])
        assert kinds(second)[-1] == "response.completed"
    requests = seen(2)
    message = [item("x" * 20_000), *answered, item("two")]
    expected = {"model": "gpt-5.5", "stream": True, "input": message}
    assert requests[1]["body_bytes"] >= requests[0]["body_bytes"]
    assert requests[1]["body_bytes"] == pytest.approx(len(json.dumps(expected)), abs=200)
    up = [record_of(lab, e[-1]["response"]["id"])["bytes_up"] for e in (first, second)]
    assert up[0] > 20_000 > up[1]


@pytest.mark.parametrize("previous", ["resp_of_nobody", "resp_"])
def test_unknown_previous_response_makes_the_client_send_everything(lab, way, previous):
    with WebSocket(lab) as socket:
        (error,) = [e for e in socket.ask(previous_response_id=previous) if e["type"] == "error"]
        assert error["status"] == 400
        assert error["error"]["code"] == "previous_response_not_found"
        assert kinds(socket.ask())[-1] == "response.completed"


def test_denied_model_is_one_error_frame_with_our_sentence(lab, seen):
    lab.write_config(policies=[{**p, "websocket": True} for p in default_policies()])
    lab.reload()
    with WebSocket(lab, "bob") as socket:
        (error,) = socket.ask(model=DENIED_MODEL)
        assert (error["type"], error["status"]) == ("error", 400)
        assert error["error"]["code"] == "model_not_found"
        assert DENIED_MODEL in error["error"]["message"]
        assert kinds(socket.ask(model=CONTRACTOR_MODEL))[-1] == "response.completed"
    assert len(seen(1)) == 1


def test_upgrade_is_refused_with_426_where_policy_has_it_off(lab, way):
    lab.write_config(policies=default_policies())
    lab.reload()
    with WebSocket(lab) as socket:
        assert socket.status == 426
        assert socket.refusal.error["code"] == "upgrade_refused"


def test_unknown_peer_is_refused_with_426_and_hears_why_by_http(lab, way):
    with WebSocket(lab, "mallory") as socket:
        assert socket.status == 426
        assert "does not know the device" in socket.refusal.error["message"]


def test_budget_is_an_error_frame_with_the_words_for_codex(lab, way):
    used = len(lab.records(user="alice@example.com"))
    limit = {"per": "user", "requests": used + 1, "window": "24h", "on_exceed": "refuse"}
    lab.write_config(policies=default_policies(websocket=True, limits=[limit]),
                     provider={"websocket": way == "link"})
    lab.reload()
    with WebSocket(lab) as socket:
        error = socket.ask()[-1]
        for _ in range(used + 1):
            if error["type"] == "error":
                break
            error = socket.ask()[-1]
        assert error["status"] == 429
        assert error["error"]["type"] == "usage_limit_reached" and error["error"]["resets_at"]
        assert "x-codex-promo-message" in error["headers"]
    lab.write_config(policies=default_policies(websocket=True))
    lab.reload()


def test_limits_are_told_before_the_answer(lab, way):
    limit = {"per": "user", "usd": "1000.00", "window": "24h", "on_exceed": "refuse"}
    lab.write_config(policies=default_policies(websocket=True, limits=[limit]),
                     provider={"websocket": way == "link"})
    lab.reload()
    with WebSocket(lab) as socket:
        events = socket.ask()
    assert events[0]["type"] == "codex.rate_limits"
    assert events[0]["rate_limits"]["primary"]["window_minutes"] == 1440
    assert "codex.rate_limits" not in kinds(events[1:])


@pytest.mark.parametrize("scenario,outcome", [
    ({"kind": "failed", "code": "server_error"}, "failed"),
    ({"kind": "incomplete"}, "incomplete"),
])
def test_failed_and_incomplete_cost_what_they_say(lab, way, scenario, outcome):
    with WebSocket(lab) as socket:
        events = socket.ask(mock={**scenario, "usage": {"input_tokens": 55}})
        record = record_of(lab, events[-1]["response"]["id"])
        assert (record["outcome"], record["input_tokens"]) == (outcome, 55)
        assert kinds(socket.ask())[-1] == "response.completed"


@pytest.mark.parametrize("status", [400, 429, 500])
def test_providers_error_passes_and_costs_nothing(lab, way, status):
    with WebSocket(lab) as socket:
        (error,) = [e for e in socket.ask(mock={"kind": "http_error", "status": status})
                    if e["type"] == "error"]
        assert error["status"] == status
        assert error["error"]["message"] == "The mock refused on purpose."
        assert kinds(socket.ask())[-1] == "response.completed"
    refused = [r for r in lab.records(outcome="upstream_error") if r["http_status"] == status]
    assert refused and all(r["cost_nano_usd"] == 0 for r in refused)


@pytest.mark.parametrize("kind", ["no_terminal", "reset", "stall"])
def test_answer_without_end_closes_the_socket_and_is_estimated(lab, way, kind, eventually):
    known = {r["id"] for r in lab.records()}
    with WebSocket(lab) as socket:
        try:
            events = socket.ask(mock={"kind": kind, "after": 3})
        except (ConnectionError, OSError):
            events = []
        assert "response.completed" not in kinds(events)
    (record,) = eventually(lambda: [r for r in lab.records() if r["id"] not in known])
    assert record["outcome"] == "upstream_error" and record["estimated"]
    assert record["cost_nano_usd"] > 0


def test_client_that_leaves_is_settled(lab, way, eventually):
    known = {r["id"] for r in lab.records()}
    gate = lab.gate()
    with WebSocket(lab) as socket:
        content = {"type": "response.create", "model": "gpt-5.5", "input": [item("hi")],
                   "metadata": {"mock": json.dumps({"gate": gate.name, "gate_after": 2})}}
        socket.send_text(content)
        asyncio.run(gate.reached(1))
        assert socket.message()["type"]
    (record,) = eventually(lambda: [r for r in lab.records() if r["id"] not in known])
    gate.open()
    assert record["outcome"] == "client_abort" and record["estimated"]
    eventually(lambda: lab.held() == 0)


def test_ping_is_answered_also_while_an_answer_runs(lab, way):
    gate = lab.gate()
    with WebSocket(lab) as socket:
        socket.send(masked_frame(PING, b"one"))
        assert socket.frame() == (PONG, True, b"one")
        socket.send_text({"type": "response.create", "model": "gpt-5.5", "input": [item("hi")],
                          "metadata": {"mock": json.dumps({"gate": gate.name, "gate_after": 0})}})
        asyncio.run(gate.reached(1))
        socket.send(masked_frame(PING, b"two"))
        seen = socket.frame()
        while seen[0] != PONG:
            seen = socket.frame()
        assert seen[2] == b"two"
        gate.open()
        assert kinds(socket.events())[-1] == "response.completed"


def test_silence_of_the_provider_is_filled_with_events(lab, way):
    gate = lab.gate()
    with WebSocket(lab) as socket:
        socket.send_text({"type": "response.create", "model": "gpt-5.5", "input": [item("hi")],
                          "metadata": {"mock": json.dumps({"gate": gate.name, "gate_after": 2})}})
        seen = [socket.message()["type"]]
        while seen[-1] != "gateway.keepalive":
            seen.append(socket.message()["type"])
        gate.open()
        assert kinds(socket.events())[-1] == "response.completed"


def test_messages_sent_ahead_are_answered_in_order(lab, way):
    with WebSocket(lab) as socket:
        for n in range(3):
            socket.send_text({"type": "response.create", "model": "gpt-5.5",
                              "input": [item(f"ahead {n}")],
                              "metadata": {"mock": json.dumps({"usage": {"input_tokens": 70 + n}})}})
        ids = [socket.events()[-1]["response"]["id"] for _ in range(3)]
    assert [record_of(lab, each)["input_tokens"] for each in ids] == [70, 71, 72]


FAULTS = [
    ("unmasked", masked_frame(TEXT, b"{}", mask=b""), 1002),
    ("binary", masked_frame(BINARY, b"{}"), 1003),
    ("reserved bit", masked_frame(TEXT, b"{}", first=0x40), 1002),
    ("close", masked_frame(CLOSE, b"\x03\xe8"), 1000),
]


@pytest.mark.parametrize("what,sent,code", FAULTS, ids=[row[0] for row in FAULTS])
def test_broken_frames_are_told_by_close_code(lab, what, sent, code):
    with WebSocket(lab) as socket:
        socket.send(sent)
        assert socket.message() is None
        assert socket.close_code == code


REFUSED = [
    ("no json", b"hello", "invalid_prompt"),
    ("no model", b'{"type":"response.create","input":[]}', "invalid_prompt"),
    ("model twice", b'{"type":"response.create","model":"a","model":"b"}', "invalid_prompt"),
    ("no type", b'{"model":"gpt-5.5","input":[]}', "invalid_prompt"),
    ("unknown type", b'{"type":"response.unheard_of","model":"gpt-5.5"}', "invalid_prompt"),
    ("background", json.dumps({"type": "response.create", "model": "gpt-5.5", "input": [],
                               "background": True}).encode(), "invalid_prompt"),
]


@pytest.mark.parametrize("what,sent,code", REFUSED, ids=[row[0] for row in REFUSED])
def test_message_that_cannot_be_metered_is_refused_and_the_socket_goes_on(lab, way, what, sent, code):
    with WebSocket(lab) as socket:
        socket.send_text(sent)
        error = socket.message()
        assert (error["type"], error["status"]) == ("error", 400)
        assert error["error"]["code"] == code
        assert kinds(socket.ask())[-1] == "response.completed"


def test_notices_of_the_client_pass_without_an_answer(lab, way):
    with WebSocket(lab) as socket:
        first = socket.ask()
        socket.send_text({"type": "response.processed",
                          "response_id": first[-1]["response"]["id"]})
        assert kinds(socket.ask(mock={"usage": USAGE}))[-1] in ("response.completed", "error")


def test_provider_without_websocket_is_bridged_even_when_configured_with(lab, link, seen):
    with lab.mock_answers(websocket=False), WebSocket(lab) as socket:
        first = socket.ask()
        assert kinds(first)[-1] == "response.completed"
        second = socket.ask("on", previous_response_id=first[-1]["response"]["id"])
        assert kinds(second)[-1] == "response.completed"
    assert not any("message" in each for each in seen(2))


def test_revoked_user_loses_the_stream_with_a_sentence(lab, way):
    gate = lab.gate()
    try:
        with WebSocket(lab) as socket:
            socket.send_text({"type": "response.create", "model": "gpt-5.5", "input": [item("hi")],
                              "metadata": {"mock": json.dumps({"gate": gate.name, "gate_after": 3})}})
            asyncio.run(gate.reached(1))
            lab.ctl("revoke", "alice@example.com", "--why", "laptop lost")
            events = socket.events()
            assert events[-1]["type"] == "response.failed"
            assert "laptop lost" in events[-1]["response"]["error"]["message"]
            assert socket.ask()[-1]["error"]["code"] == "invalid_prompt"
    finally:
        gate.open()
        lab.ctl("restore", "alice@example.com")


def test_http_goes_on_beside_it(lab, way):
    with WebSocket(lab) as socket:
        assert kinds(socket.ask())[-1] == "response.completed"
        assert post(lab, body_of()).status == 200
        assert get(lab, "/v1/responses").status == 405


def test_restart_closes_resting_sockets_in_order(lab, way):
    with WebSocket(lab) as socket:
        assert kinds(socket.ask())[-1] == "response.completed"
        lab.restart_daemon()
        assert socket.message() is None and socket.close_code == 1012
    with WebSocket(lab) as socket:
        assert kinds(socket.ask())[-1] == "response.completed"


def test_upgrade_lets_the_running_answer_end_and_then_closes(lab, way, eventually):
    gate = lab.gate()
    with WebSocket(lab) as running, WebSocket(lab) as resting:
        assert kinds(resting.ask())[-1] == "response.completed"
        running.send_text({"type": "response.create", "model": "gpt-5.5", "input": [item("hi")],
                           "metadata": {"mock": json.dumps({"gate": gate.name, "gate_after": 2})}})
        asyncio.run(gate.reached(1))
        lab.upgrade_daemon()
        assert resting.message() is None and resting.close_code == 1012
        with WebSocket(lab) as new:
            assert kinds(new.ask())[-1] == "response.completed"
        gate.open()
        events = running.events()
        assert kinds(events)[-1] == "response.completed"
        assert running.message() is None and running.close_code == 1012
    assert record_of(lab, events[-1]["response"]["id"])["outcome"] == "completed"
