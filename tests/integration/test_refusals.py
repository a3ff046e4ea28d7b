"""Each bad input: its code, a body that Codex understands, a counter, and a daemon that goes on."""

import json

import pytest

from tollgate_lab.client import Connection, body_of, exchange, get, post, request_bytes
from tollgate_lab.process import Service, wait_until

LAB_OPTIONS = {"limits": {"head_bytes_max": 16 * 1024, "body_bytes_max": 4 * 1024 * 1024,
                          "upstream_connect_ms": 3000, "upstream_silence_ms": 2000,
                          "upstream_first_byte_ms": 4000}}

HOST = b"host: 10.99.0.1\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n"


def raw_post(fields, body=b"{}"):
    return b"POST /v1/responses HTTP/1.1\r\n" + HOST + fields + b"\r\n" + body


def encoded(body, **headers):
    return request_bytes(body=body, headers=list(headers.items()))


CASES = [
    ("json cut short", encoded(b'{"model":"gpt-5.5"'), 400, "json_malformed"),
    ("not json", encoded(b"hello"), 400, "json_malformed"),
    ("model twice", encoded(b'{"model":"gpt-5.5","model":"gpt-9","input":[]}'), 400,
     "json_duplicate_key"),
    ("no model", encoded(b'{"input":[]}'), 400, "model_missing"),
    ("no body", raw_post(b"", b""), 400, "body_required"),
    ("empty body", raw_post(b"content-length: 0\r\n", b""), 400, "body_required"),
    ("body in an unknown coding", encoded(b"{}", **{"content-encoding": "br"}), 400,
     "body_encoding"),
    ("compressed body cut short", encoded(b"\x1f\x8b", **{"content-encoding": "gzip"}), 400,
     "json_malformed"),
    ("background", encoded(body_of(background=True)), 400, "feature_denied"),
    ("head too large", request_bytes("GET", "/v1/models", [("x-pad", "p" * 20_000)]), 400,
     "head_too_large"),
    ("length and chunked", raw_post(b"content-length: 2\r\n" + CHUNKED, b"2\r\n{}\r\n0\r\n\r\n"),
     400, "head_malformed"),
    ("two lengths", raw_post(b"content-length: 2\r\ncontent-length: 2\r\n"), 400,
     "head_malformed"),
    ("length with a sign", raw_post(b"content-length: +2\r\n"), 400, "head_malformed"),
    ("length in hex", raw_post(b"content-length: 0x2\r\n"), 400, "head_malformed"),
    ("unknown coding", raw_post(b"transfer-encoding: gzip, chunked\r\n", b"0\r\n\r\n"), 400,
     "head_malformed"),
    ("space before colon", raw_post(b"content-length : 2\r\n"), 400, "head_malformed"),
    ("folded field", raw_post(b"x-a: b\r\n c\r\ncontent-length: 2\r\n"), 400, "head_malformed"),
    ("NUL in a field", raw_post(b"x-a: b\0c\r\ncontent-length: 2\r\n"), 400, "head_malformed"),
    ("no host", b"POST /v1/responses HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}", 400,
     "head_malformed"),
    ("not http", b"\x00\x01\x02\x03\r\n\r\n", 400, "head_malformed"),
    ("unknown path", request_bytes("GET", "/v1/files"), 404, "endpoint_unknown"),
    ("path tricks", request_bytes("POST", "/v1/..%2fv1/responses", body=b"{}"), 404,
     "endpoint_unknown"),
    ("wrong method", request_bytes("DELETE", "/v1/responses"), 405, "method_not_allowed"),
    ("websocket", request_bytes("GET", "/v1/responses", [
        ("connection", "Upgrade"), ("upgrade", "websocket"), ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")]), 426, "upgrade_refused"),
    ("unpriced model", encoded(body_of(model="gpt-5-unheard-of")), 400, "price_unknown"),
]


@pytest.mark.parametrize("raw,status,code", [pytest.param(*case[1:], id=case[0])
                                             for case in CASES])
def test_bad_input_is_refused_by_name(lab, raw, status, code):
    counted = lab.counter("refused", code)
    at_provider = len(lab.mock_seen())
    answer = exchange(lab, raw)
    assert answer.status == status
    error = answer.error
    assert error["message"] and error["type"] and error["code"]
    assert lab.counter("refused", code) == counted + 1
    assert len(lab.mock_seen()) == at_provider
    assert post(lab, body_of()).status == 200


def test_large_upload_refused_early_still_reads_its_sentence(lab):
    """30 MB announced and sent while the answer is on its way: no reset may eat the answer."""
    body = body_of(text="x" * 30_000_000)
    counted = lab.counter("refused", "body_too_large")
    answer = post(lab, body)
    assert (answer.status, answer.error["code"]) == (400, "invalid_prompt")
    assert lab.counter("refused", "body_too_large") == counted + 1


def test_chunked_body_over_the_limit_is_refused_while_it_arrives(lab):
    piece = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    with Connection(lab) as connection:
        connection.send(raw_post(CHUNKED, piece))
        try:
            for _ in range(80):
                connection.send(piece)
        except OSError:
            pass  # the gateway may stop listening once it has answered
        assert connection.response().status == 400


def assert_trouble(lab, code, name="alice", body=None):
    counted = lab.counter("refused", code)
    answer = post(lab, body or body_of(), name)
    assert answer.status == 503
    assert lab.key not in answer.body.decode() + str(answer.headers)
    assert int(answer.headers.get("retry-after", "0")) <= 5
    assert lab.counter("refused", code) == counted + 1
    return answer


def test_rejected_key_is_the_gateways_trouble_and_stays_unread(lab):
    scenario = {"kind": "http_error", "status": 401,
                "body": '{"error":{"message":"Incorrect API key: {authorization}"}}'}
    answer = assert_trouble(lab, "upstream_key_rejected", body=body_of(mock=scenario))
    assert "Incorrect" not in answer.error["message"]
    assert lab.key not in lab.daemon.log()
    assert post(lab, body_of()).status == 200


def test_provider_error_passes_and_costs_nothing(lab):
    scenario = {"kind": "http_error", "status": 429, "body": {"error": {
        "message": "slow down", "type": "rate_limit", "code": "rate_limit_exceeded"}}}
    answer = post(lab, body_of(mock=scenario))
    assert answer.status == 429 and answer.error["message"] == "slow down"
    record = max(lab.records(), key=lambda r: r["started_unix_ms"])
    assert (record["outcome"], record["cost_nano_usd"]) == ("upstream_error", 0)


def test_provider_down_and_back(lab):
    lab.mock.stop()
    assert_trouble(lab, "upstream_unreachable")
    lab.start_mock()
    assert post(lab, body_of()).status == 200


def test_silent_provider_is_given_up(lab):
    """A provider that accepts and says nothing, not even a TLS hello."""
    lab.mock.stop()
    silent = Service("silent", ["nsenter", f"--net=/run/netns/{lab.provider}", "/usr/bin/python3",
                                "-c", "import socket,time; s=socket.create_server(('10.98.0.2',443),"
                                "reuse_port=True); print('ready',flush=True); time.sleep(600)"],
                     lab.folder / "silent.log")
    try:
        wait_until(lambda: "ready" in silent.log(), "the silent server", service=silent)
        answer = post(lab, body_of())
        assert answer.status == 503
    finally:
        silent.kill()
        lab.start_mock()
    assert post(lab, body_of()).status == 200


def test_wrong_certificate_of_the_provider(make_lab):
    lab = make_lab(provider_certificate_for="other.example")
    assert_trouble(lab, "upstream_certificate")
    assert lab.mock_seen(method="POST") == []


def test_full_disk_stops_admission_and_heals(make_lab):
    lab = make_lab(state_size="2m")
    assert post(lab, body_of()).status == 200
    filler = lab.state / "filler"
    with open(filler, "wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError:
            pass  # full, which is the point
    answers = [post(lab, body_of()) for _ in range(200)]
    refused = [a for a in answers if a.status != 200]
    assert refused, "no refusal although the disk is full"
    assert {a.status for a in refused} == {503}
    assert lab.counter("refused", "store_unavailable") > 0
    assert any("ledger" in problem for problem in lab.status()["problems"])
    filler.unlink()
    wait_until(lambda: post(lab, body_of()).status == 200, "admission after the disk has room")


def test_head_and_models_answer_for_doctor(lab):
    head = exchange(lab, request_bytes("HEAD", "/v1/responses"), to_head=True)
    assert head.status == 200
    models = get(lab, "/v1/models")
    assert models.status == 200 and models.json()["data"]


def test_every_refusal_body_is_one_json_object(lab):
    for raw in (case[1] for case in CASES):
        answer = exchange(lab, raw)
        assert answer.headers["content-type"].startswith("application/json")
        assert list(json.loads(answer.body)) == ["error"]
