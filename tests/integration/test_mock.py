"""The mock provider itself, asked without a gateway: the suites take their truth from it."""

import json
import subprocess

import pytest

from tollgate_lab.client import body_of, exchange, parse_events, post, request_bytes
from tollgate_lab.websocket_client import PING, TEXT, WebSocket, masked_frame

LAB_OPTIONS = {"gateway": False}


def types_of(events):
    return [event["type"] for event in events]


def test_websocket_goes_on_from_the_last_response_only(lab):
    with WebSocket(lab) as socket:
        warmed = socket.ask(generate=False)
        assert types_of(warmed) == ["response.created", "response.completed"]
        assert warmed[-1]["response"]["usage"]["total_tokens"] == 0
        first = socket.ask(previous_response_id=warmed[-1]["response"]["id"])
        second = socket.ask(previous_response_id=first[-1]["response"]["id"])
        assert types_of(second)[-1] == "response.completed"
        (error,) = socket.ask(previous_response_id=first[-1]["response"]["id"])
        assert (error["status"], error["error"]["code"]) == (400, "previous_response_not_found")
        assert types_of(socket.ask())[-1] == "response.completed"
    messages = lab.mock_messages()[-5:]
    assert [m["message"] for m in messages] == [1, 2, 3, 4, 5]
    assert [m["generate"] for m in messages] == [False, True, True, True, True]
    assert len({m["connection"] for m in messages}) == 1
    uploaded = [m["connection_bytes"] for m in messages]
    assert uploaded == sorted(set(uploaded))


def test_websocket_of_a_failed_turn_is_forgotten(lab):
    with WebSocket(lab) as socket:
        answered = socket.ask()[-1]["response"]["id"]
        (error,) = socket.ask(previous_response_id=answered,
                              mock={"kind": "http_error", "status": 429})
        assert error["status"] == 429
        (error,) = socket.ask(previous_response_id=answered)
        assert error["error"]["code"] == "previous_response_not_found"


def test_websocket_pings_fragments_and_closes_as_told(lab):
    with WebSocket(lab) as socket:
        socket.send(masked_frame(PING, b"here"))
        events = socket.ask(mock={"ws_ping": "there", "ws_fragments": 7})
        assert types_of(events)[-1] == "response.completed" and socket.pings == [b"there"]
        assert types_of(socket.ask(mock={"kind": "no_terminal", "after": 2, "ws_close": 1011})) == [
            "response.created", "response.in_progress"]
        assert socket.close_code == 1011


@pytest.mark.parametrize("frame", [
    pytest.param(masked_frame(TEXT, b"{}", mask=b""), id="not masked"),
    pytest.param(masked_frame(TEXT, b"{}", first=0x40), id="reserved bit"),
    pytest.param(masked_frame(PING, b"x" * 126), id="long ping"),
    pytest.param(masked_frame(0, b"{}"), id="continuation of nothing"),
])
def test_websocket_is_strict(lab, frame):
    with WebSocket(lab) as socket:
        socket.send(frame)
        assert socket.message() is None and socket.close_code == 1002


@pytest.mark.parametrize("control,status", [
    ({"websocket": False}, 426), ({"ws_refuse_status": 404}, 404)])
def test_websocket_can_be_refused(lab, control, status):
    with lab.mock_answers(**control), WebSocket(lab) as socket:
        assert socket.status == status and socket.refusal.error["message"]


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_coded_answers_can_be_decoded(lab, coding, stream):
    answer = post(lab, body_of(stream=stream, mock={"coding": coding}))
    assert answer.headers["content-encoding"] == coding
    text = subprocess.run([coding, "-dc"], input=answer.body, capture_output=True,
                          check=True).stdout
    last = parse_events(text)[-1]["response"] if stream else json.loads(text)
    assert last["status"] == "completed"


def test_script_is_followed_by_each_thread_for_itself(lab):
    script = {"script": [{"text": "one"}, {"text": "two"}]}

    def ask(thread):
        answer = post(lab, body_of(stream=False, mock=script), headers=[("thread-id", thread)])
        return answer.json()["output"][0]["content"][0]["text"]

    assert [ask(thread) for thread in "aabab"] == ["one", "two", "one", "two", "two"]


@pytest.mark.parametrize("body,shown", [
    ({"stream": True}, False), ({"stream": True, "stream_options": {"include_usage": True}}, True),
    ({"stream": True, "stream_options": {"include_usage": False}}, False)], ids=str)
def test_chat_usage_is_for_who_asks(lab, body, shown):
    messages = [{"role": "user", "content": "hello"}]
    raw = json.dumps({"model": "gpt-5.5", "messages": messages, **body}).encode()
    answer = post(lab, raw, path="/v1/chat/completions")
    assert (b'"prompt_tokens"' in answer.body) == shown
    assert answer.body.endswith(b"data: [DONE]\n\n")
    assert lab.mock_seen()[-1]["usage"]["prompt_tokens"] == 1000


def test_stored_responses(lab):
    kept = post(lab, body_of()).events()[-1]["response"]["id"]
    left = post(lab, body_of(store=False)).events()[-1]["response"]["id"]

    def ask(method, path):
        return exchange(lab, request_bytes(method, f"/v1/responses/{path}")).status

    assert [ask("GET", kept), ask("GET", f"{kept}/input_items"), ask("POST", f"{kept}/cancel"),
            ask("DELETE", kept), ask("GET", kept), ask("GET", left)] == [
                200, 200, 200, 200, 404, 404]
