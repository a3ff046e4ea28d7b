"""What is served beside POST /v1/responses: each metered to the provider's truth, or refused."""

import asyncio
import hashlib
import json

import pytest

from tollgate_lab.client import Connection, body_of, exchange, get, post, request_bytes
from tollgate_lab.config import CONTRACTOR_MODEL, DENIED_MODEL, default_policies

PRICES = {"version": "test", "unit": "usd_per_million_tokens", "models": [
    {"model": name, "source": "https://prices.test", "date": "2026-01-01",
     "context_tokens": 400000, "max_output_tokens": 128000,
     "tiers": {"default": {"input": "1.00", "cached_input": "0.10", "output": "8.00"}}}
    for name in ("gpt-5.5", "gpt-5.6-luna", "text-embedding-3-small", "gpt-image-1")]}
LAB_OPTIONS = {"policies": default_policies(("gpt-*", "text-*"))}
USAGE = {"input_tokens": 300, "cached_tokens": 100, "output_tokens": 40, "reasoning_tokens": 5}
COST = (200 * 1000 + 100 * 100 + 40 * 8000)  # nano-USD


@pytest.fixture(autouse=True)
def priced(lab):
    file = lab.folder / "prices.json"
    if not file.exists():
        file.write_text(json.dumps(PRICES))
        lab.gateway_settings["price_file"] = str(file)
        lab.write_config()
        lab.restart_daemon()


def ask(lab, path, name="alice", mock=None, model="gpt-5.5", **fields):
    body = {"model": model, **fields}
    if mock is not None:
        body["metadata"] = {"mock": json.dumps(mock)}
    raw = json.dumps(body).encode()
    return raw, post(lab, raw, name, path=path)


def chat(lab, **fields):
    return ask(lab, "/v1/chat/completions", messages=[{"role": "user", "content": "hi"}], **fields)


def chunks(answer):
    blocks = [line[6:] for line in answer.body.decode().split("\n") if line.startswith("data: ")]
    assert blocks[-1] == "[DONE]"
    return [json.loads(block) for block in blocks[:-1]]


def record_of(lab, response_id):
    (found,) = lab.records(response_id=response_id)
    return found


def assert_metered(record, endpoint):
    assert {name: record[name] for name in USAGE} == USAGE
    assert record["cost_nano_usd"] == COST
    assert (record["outcome"], record["estimated"]) == ("completed", False)
    assert record["endpoint"] == f"POST {endpoint}"


def test_chat_is_metered_and_its_body_passes_bit_for_bit(lab):
    raw, answer = chat(lab, mock={"usage": USAGE})
    assert answer.status == 200 and answer.json()["object"] == "chat.completion"
    assert_metered(record_of(lab, answer.json()["id"]), "/v1/chat/completions")
    assert lab.mock_seen()[-1]["body_sha256"] == hashlib.sha256(raw).hexdigest()


def test_chat_stream_that_asks_for_usage_has_it(lab):
    raw, answer = chat(lab, stream=True, stream_options={"include_usage": True},
                       mock={"usage": USAGE})
    seen = chunks(answer)
    assert seen[-1]["choices"] == [] and seen[-1]["usage"]["prompt_tokens"] == 300
    assert_metered(record_of(lab, seen[0]["id"]), "/v1/chat/completions")
    assert lab.mock_seen()[-1]["body_sha256"] == hashlib.sha256(raw).hexdigest()


@pytest.mark.parametrize("options", [{}, {"stream_options": None},
                                     {"stream_options": {"include_usage": False}},
                                     {"stream_options": {"include_obfuscation": False}}])
def test_chat_stream_without_usage_is_metered_and_shows_none(lab, options):
    _, answer = chat(lab, stream=True, mock={"usage": USAGE}, **options)
    seen = chunks(answer)
    assert all(each["choices"] for each in seen)
    assert "".join(c["delta"].get("content") or "" for e in seen for c in e["choices"])
    assert_metered(record_of(lab, seen[0]["id"]), "/v1/chat/completions")
    assert lab.mock_seen()[-1]["usage_asked"] is True


def test_chat_with_tools_streams_its_calls(lab):
    _, answer = chat(lab, stream=True, mock={"kind": "tool", "usage": USAGE})
    seen = chunks(answer)
    assert any(c["delta"].get("tool_calls") for e in seen for c in e["choices"])
    assert seen[-1]["choices"][0]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("kind", ["no_terminal", "reset"])
def test_chat_stream_without_end_is_estimated(lab, kind, eventually):
    known = {r["id"] for r in lab.records()}
    try:
        chat(lab, stream=True, mock={"kind": kind, "after": 3})
    except (ConnectionError, ValueError, OSError):
        pass
    (record,) = eventually(lambda: [r for r in lab.records() if r["id"] not in known])
    assert record["outcome"] == "upstream_error" and record["estimated"]
    assert record["cost_nano_usd"] > 0


def test_chat_is_refused_like_a_response(lab):
    _, answer = ask(lab, "/v1/chat/completions", "bob", model=DENIED_MODEL, messages=[])
    assert answer.status == 403 and answer.error["code"] == "model_not_found"
    assert CONTRACTOR_MODEL in answer.error["message"]


def test_revoked_chat_stream_ends_with_an_error_that_programs_read(lab):
    gate = lab.gate()
    try:
        with Connection(lab) as connection:
            body = json.dumps({"model": "gpt-5.5", "stream": True, "messages": [], "metadata": {
                "mock": json.dumps({"gate": gate.name, "gate_after": 3})}}).encode()
            connection.send(request_bytes(path="/v1/chat/completions", body=body))
            assert connection.head()[0] == 200
            asyncio.run(gate.reached(1))
            lab.ctl("revoke", "alice@example.com", "--why", "laptop lost")
            text = b"".join(connection.chunks()).decode()
        last = json.loads(text.strip().split("\n")[-1][6:])
        assert "laptop lost" in last["error"]["message"]
    finally:
        gate.open()
        lab.ctl("restore", "alice@example.com")


def test_embeddings_are_metered(lab):
    known = {r["id"] for r in lab.records()}
    raw, answer = ask(lab, "/v1/embeddings", model="text-embedding-3-small", input=["a", "b"],
                      mock={"usage": {"input_tokens": 12}})
    assert answer.status == 200 and len(answer.json()["data"]) == 2
    (record,) = [r for r in lab.records() if r["id"] not in known]
    assert (record["input_tokens"], record["output_tokens"]) == (12, 0)
    assert record["cost_nano_usd"] == 12 * 1000 and not record["estimated"]
    assert lab.mock_seen()[-1]["body_sha256"] == hashlib.sha256(raw).hexdigest()


def test_images_are_metered(lab):
    known = {r["id"] for r in lab.records()}
    _, answer = ask(lab, "/v1/images/generations", model="gpt-image-1", prompt="a gate",
                    mock={"usage": {"input_tokens": 9, "output_tokens": 200}})
    assert answer.status == 200 and answer.json()["data"][0]["b64_json"]
    (record,) = [r for r in lab.records() if r["id"] not in known]
    assert (record["input_tokens"], record["output_tokens"]) == (9, 200)
    assert record["cost_nano_usd"] == 9 * 1000 + 200 * 8000


def test_model_without_a_price_is_refused_on_each_interface(lab):
    for path in ("/v1/chat/completions", "/v1/embeddings", "/v1/images/generations"):
        _, answer = ask(lab, path, model="gpt-unpriced", messages=[], input="a", prompt="a")
        assert answer.status == 400 and "price" in answer.error["message"], path


@pytest.mark.parametrize("path,model", [("/v1/images/generations", "gpt-image-1"),
                                        ("/v1/responses/compact", "gpt-5.5")])
def test_streams_that_could_not_be_metered_are_refused(lab, path, model):
    _, answer = ask(lab, path, model=model, input="a", prompt="a", stream=True)
    assert answer.status == 400 and "stream" in answer.error["message"]


def test_compaction_is_metered(lab):
    raw, answer = ask(lab, "/v1/responses/compact", input=[], mock={"usage": USAGE})
    assert answer.status == 200 and answer.json()["object"] == "response.compaction"
    assert_metered(record_of(lab, answer.json()["id"]), "/v1/responses/compact")
    assert lab.mock_seen()[-1]["body_sha256"] == hashlib.sha256(raw).hexdigest()


def stored(lab, name="alice", model="gpt-5.5", **fields):
    _, answer = ask(lab, "/v1/responses", name, model=model, input="hi", **fields)
    assert answer.status == 200
    return answer.json()["id"]


def test_stored_response_is_its_makers_alone(lab):
    made = stored(lab)
    seen = get(lab, f"/v1/responses/{made}")
    assert seen.status == 200 and seen.json()["id"] == made
    assert get(lab, f"/v1/responses/{made}/input_items?limit=2&api_key=x").status == 200
    assert lab.mock_seen()[-1]["path"] == f"/v1/responses/{made}/input_items?limit=2"
    before = len(lab.mock_seen())
    other = get(lab, f"/v1/responses/{made}", name="bob")
    assert other.status == 404 and other.error["code"] == "response_unknown"
    gone = exchange(lab, request_bytes("DELETE", f"/v1/responses/{made}"), name="bob")
    assert gone.status == 404
    assert len(lab.mock_seen()) == before


def test_stored_response_costs_nothing_to_read_and_leaves_a_record(lab):
    made = stored(lab, mock={"usage": USAGE})
    known = {r["id"] for r in lab.records()}
    assert get(lab, f"/v1/responses/{made}").status == 200
    (record,) = [r for r in lab.records() if r["id"] not in known]
    assert record["cost_nano_usd"] == 0 and record["input_tokens"] == 0
    assert record["endpoint"].startswith("GET /v1/responses/")
    assert record["outcome"] == "completed"


def test_stored_response_is_cancelled_and_deleted(lab):
    made = stored(lab)
    cancelled = exchange(lab, request_bytes("POST", f"/v1/responses/{made}/cancel"))
    assert cancelled.status == 200 and cancelled.json()["status"] == "cancelled"
    assert exchange(lab, request_bytes("DELETE", f"/v1/responses/{made}")).json()["deleted"]
    assert get(lab, f"/v1/responses/{made}").status == 404


def test_response_that_was_not_to_be_stored_is_unknown(lab):
    assert get(lab, f"/v1/responses/{stored(lab, store=False)}").status == 404


@pytest.mark.parametrize("method,path", [
    ("GET", "/v1/files"), ("POST", "/v1/audio/speech"), ("POST", "/v1/images/edits"),
    ("POST", "/v1//responses"), ("GET", "/v1/responses%2fresp_1"), ("GET", "/v1/batches"),
    ("GET", "/v1/organization/usage"), ("POST", "/v1/fine_tuning/jobs")])
def test_everything_else_is_404_with_a_sentence(lab, method, path):
    answer = exchange(lab, request_bytes(method, path, body=b"{}" if method == "POST" else b""))
    assert answer.status == 404
    assert "This gateway serves" in answer.error["message"]


def test_path_is_normalised_before_it_is_served(lab):
    answer = post(lab, body_of(), path="/v1/%72esponses")
    assert answer.status == 200
    assert lab.mock_seen()[-1]["path"] == "/v1/responses"
