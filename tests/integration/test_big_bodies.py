"""What is large, compressed or unknown passes as it came, within the memory that was configured."""

import base64
import contextlib
import functools
import hashlib
import json
import random
import threading

import pytest

from tollgate_lab.client import Connection, body_of, exchange, post, request_bytes
from tollgate_lab.config import CONTRACTOR_MODEL
from tollgate_lab.mock_coding import encoded

MIB = 1 << 20
BODIES_MAX = 300 * MIB
WORKERS = 2
# Beside the bodies: what the daemon has without any, and of one request a worker what the parser
# makes of it (its strings once more).
OTHER_MAX = 64 * MIB + WORKERS * 40 * MIB
PICTURE_BYTES = 30_000_000
LAB_OPTIONS = {
    "workers": WORKERS,
    # The crowd may take long where the machine is busy, and nobody is to be late for that.
    "limits": {"body_memory_bytes_max": BODIES_MAX, "client_request_ms": 800_000},
    "policies": [
        {"name": "engineering-codex", "groups": ["engineering"], "models": ["gpt-5*"]},
        {"name": "contractors-codex", "groups": ["contractors"], "models": [CONTRACTOR_MODEL],
         "max_output_tokens": 100},
    ],
}


def sha256(data):
    return hashlib.sha256(data).hexdigest()


@functools.lru_cache
def noise(size):
    """As hard to compress as a picture."""
    return base64.b64encode(random.Random(1).randbytes(size * 3 // 4 + 3))[:size]


def with_picture(size, **fields):
    """A request with a picture of so many bytes: two pieces of it, and what lies between them."""
    content = [{"type": "input_image", "image_url": "data:image/png;base64,@"}]
    body = body_of(input=[{"type": "message", "role": "user", "content": content}], **fields)
    head, tail = body.split(b"@")
    return head, noise(size), tail


def coded(body, coding):
    return encoded(coding, body), [("content-encoding", coding)]


def seen(lab, response_id):
    found = [line for line in lab.mock_seen() if line.get("response_id") == response_id]
    assert len(found) == 1
    return found[0]


def response_id(answer):
    assert answer.status == 200, answer.body[:500]
    return answer.events()[-1]["response"]["id"]


def record_of(lab, answer):
    found = lab.records(response_id=response_id(answer))
    assert len(found) == 1
    return found[0]


def memory_of(lab, name):
    with open(f"/proc/{lab.status()['pid']}/status", encoding="ascii") as file:
        line = next(line for line in file if line.startswith(name + ":"))
    return int(line.split()[1]) * 1024


def is_sanitized(lab):
    """Shadow memory and quarantine are no measure of anything."""
    with open(f"/proc/{lab.status()['pid']}/maps", encoding="utf-8") as file:
        return "libasan" in (maps := file.read()) or "libtsan" in maps


class Sender(threading.Thread):
    """One client that sends a large body when all are ready to."""

    def __init__(self, lab, ready, number):
        super().__init__()
        self.lab = lab
        self.ready = ready
        self.pieces = with_picture(PICTURE_BYTES, prompt_cache_key=f"client-{number}")
        self.sent_sha256 = sha256(b"".join(self.pieces))
        self.answer = None

    def run(self):
        with Connection(self.lab) as connection:
            connection.socket.settimeout(800)
            size = sum(map(len, self.pieces))
            connection.send(request_bytes(headers=[("content-length", size),
                                                   ("content-type", "application/json")],
                                          length=False))
            self.ready.wait()
            for piece in self.pieces:
                connection.send(piece)
            self.answer = connection.response()


def test_fifty_bodies_of_30_mb_at_once_stay_within_the_memory_bound(lab):
    ready = threading.Barrier(50)
    senders = [Sender(lab, ready, number) for number in range(50)]
    overloaded = lab.counter("refused", "overloaded")
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert [sender.answer.status for sender in senders] == [200] * 50
    for sender in senders:
        assert seen(lab, response_id(sender.answer))["body_sha256"] == sender.sent_sha256
    assert lab.counter("refused", "overloaded") == overloaded
    assert lab.status()["body_memory_bytes"] == 0
    peak = memory_of(lab, "VmHWM")
    assert is_sanitized(lab) or peak < BODIES_MAX + OTHER_MAX, f"{peak // MIB} MiB"


def test_a_client_that_declares_and_does_not_send_gives_way(lab, eventually):
    """Five times 60 MiB fill the bound; the sixth waits, and gets what a silent one had."""
    size = 60 * MIB
    head = request_bytes(headers=[("content-length", size)], length=False)
    timeouts = lab.counter("refused", "request_timeout")
    with contextlib.ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(Connection(lab)).send(head)
        eventually(lambda: lab.status()["body_memory_bytes"], lambda taken: taken == BODIES_MAX)
        body = body_of()
        with Connection(lab) as connection:
            connection.send(head + body + b" " * (size - len(body)))
            assert connection.response().status == 200
    assert lab.counter("refused", "request_timeout") > timeouts
    eventually(lambda: lab.status()["body_memory_bytes"], lambda taken: taken == 0)


def test_event_lines_of_12_mb_pass_and_are_metered(lab):
    scenario = {"events": 1, "event_bytes": 12_000_000, "usage": {"input_tokens": 4711}}
    answer = post(lab, body_of(mock=scenario))
    assert max(map(len, answer.body.split(b"\n"))) > 12_000_000
    assert sha256(answer.body) == seen(lab, response_id(answer))["answer_sha256"]
    assert record_of(lab, answer)["input_tokens"] == 4711


UNKNOWN_EVENT = {"type": "response.telepathy.delta", "delta": {"deep": [1, None, {"x": "\u20ac"}]},
                 "obfuscation": "zzz"}


def test_what_nobody_knows_passes_in_both_directions(lab):
    body = body_of(
        tools=[{"type": "telepathy", "range_m": 10.0}, {"type": "function", "name": "f", "new": 1}],
        input=[{"type": "message", "role": "user", "content": [{"type": "input_smell", "x": 1e300}]},
               {"type": "dream", "encrypted_content": "zzz", "of": {"deep": [[], {}]}}],
        future_field={"a": [True, None, -0.0]}, mock={"extra_events": [UNKNOWN_EVENT]})
    body = body.replace(b'"new": 1', b'"new"\t:\r\n1.50e+00, "\\u00e9\\/" : "\xc3\xa9"')
    answer = post(lab, body)
    line = seen(lab, response_id(answer))
    assert line["body_sha256"] == sha256(body)
    assert line["answer_sha256"] == sha256(answer.body)
    assert UNKNOWN_EVENT in answer.events()


@pytest.mark.parametrize("size", [1000, 2_000_000, PICTURE_BYTES])
@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_compressed_request_is_read_and_passes_as_it_came(lab, coding, size):
    plain = b"".join(with_picture(size, mock={"usage": {"input_tokens": 4712}}))
    body, headers = coded(plain, coding)
    answer = post(lab, body, headers=headers)
    line = seen(lab, response_id(answer))
    assert line["body_sha256"] == sha256(body)
    assert ["content-encoding", coding] in line["headers"]
    assert ["content-length", str(len(body))] in line["headers"]
    assert record_of(lab, answer)["input_tokens"] == 4712
    assert lab.status()["body_memory_bytes"] == 0


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_compressed_request_in_chunks(lab, coding):
    body, headers = coded(body_of(), coding)
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    head = request_bytes(headers=[*headers, ("transfer-encoding", "chunked")], length=False)
    answer = exchange(lab, head + chunks)
    assert seen(lab, response_id(answer))["body_sha256"] == sha256(body)


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_compressed_request_that_policy_changes_goes_on_plain(lab, coding):
    plain = body_of(CONTRACTOR_MODEL)
    body, headers = coded(plain, coding)
    answer = post(lab, body, "bob", headers)
    line = seen(lab, response_id(answer))
    changed = plain.replace(b"{", b'{"max_output_tokens":100,', 1)
    assert line["body_sha256"] == sha256(changed)
    assert "content-encoding" not in dict(line["headers"])
    assert lab.status()["body_memory_bytes"] == 0


BOMB = body_of(text=" " * 20_000_000)
REFUSED = [
    ("br", b"{}", "br", "body_encoding", "gzip or zstd"),
    ("deflate", b"{}", "deflate", "body_encoding", "gzip or zstd"),
    ("two codings", encoded("gzip", encoded("gzip", body_of())), "gzip, gzip", "body_encoding",
     "gzip or zstd"),
    ("not what it says", body_of(), "gzip", "json_malformed", "gzip coding is malformed"),
    ("cut short", encoded("zstd", body_of())[:-5], "zstd", "json_malformed", "ends early"),
    ("more behind it", encoded("zstd", body_of()) + b"{}", "zstd", "json_malformed", "malformed"),
    ("gzip bomb", encoded("gzip", BOMB), "gzip", "body_too_large", "more than 100 times"),
    ("zstd bomb", encoded("zstd", BOMB), "zstd", "body_too_large", "more than 100 times"),
    ("too large", encoded("zstd", b"".join(with_picture(65 * MIB))), "zstd", "body_too_large",
     "larger once its zstd coding is taken off"),
    ("no json in it", encoded("gzip", b"hello"), "gzip", "json_malformed", "could not read"),
    ("a policy that says no", encoded("zstd", body_of("gpt-4o")), "zstd", "model_denied", "gpt-4o"),
]


@pytest.mark.parametrize("body,coding,code,says", [
    pytest.param(*case[1:], id=case[0]) for case in REFUSED])
def test_compressed_request_is_refused_in_words(lab, body, coding, code, says):
    counted = lab.counter("refused", code)
    at_provider = len(lab.mock_seen())
    answer = post(lab, body, headers=[("content-encoding", coding)])
    assert says in answer.error["message"]
    assert lab.counter("refused", code) == counted + 1
    assert len(lab.mock_seen()) == at_provider
    assert lab.status()["body_memory_bytes"] == 0


@pytest.mark.parametrize("scenario", [
    pytest.param({}, id="as it comes"),
    pytest.param({"split": "bytes"}, id="byte by byte"),
    pytest.param({"events": 3, "event_bytes": 300_000}, id="large events"),
])
@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_compressed_stream_is_metered_and_relayed_plain(lab, coding, scenario):
    answer = post(lab, body_of(mock={**scenario, "coding": coding,
                                     "usage": {"input_tokens": 4713}}))
    assert "content-encoding" not in answer.headers
    assert sha256(answer.body) == seen(lab, response_id(answer))["answer_sha256"]
    record = record_of(lab, answer)
    assert (record["input_tokens"], record["outcome"], record["estimated"]) == (
        4713, "completed", False)


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_compressed_answer_without_a_stream_is_metered(lab, coding):
    answer = post(lab, body_of(stream=False, mock={"coding": coding,
                                                   "usage": {"input_tokens": 4714}}))
    assert answer.status == 200 and "content-encoding" not in answer.headers
    found = lab.records(response_id=answer.json()["id"])
    assert [record["input_tokens"] for record in found] == [4714]


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_compressed_answer_that_is_cut_is_an_estimate(lab, coding):
    before = {record["id"] for record in lab.records()}
    scenario = {"kind": "no_terminal", "events": 20, "after": 8, "coding": coding}
    assert post(lab, body_of(mock=scenario)).events()[-1]["type"] == "response.output_text.delta"
    record, = [record for record in lab.records() if record["id"] not in before]
    assert record["outcome"] == "upstream_error" and record["estimated"]
    assert record["cost_nano_usd"] > 0


def test_compressed_answer_that_explodes_is_cut(lab):
    before = {record["id"] for record in lab.records()}
    post(lab, body_of(mock={"events": 1, "event_bytes": 40_000_000, "coding": "zstd"}))
    record, = [record for record in lab.records() if record["id"] not in before]
    assert record["outcome"] == "upstream_error" and record["estimated"]


def test_answer_in_an_unknown_coding_is_the_gateways_trouble(lab):
    counted = lab.counter("refused", "upstream_protocol")
    answer = post(lab, body_of(mock={"headers": {"Content-Encoding": "br"}}))
    assert answer.status == 503
    assert "cannot meter" in json.loads(answer.body)["error"]["message"]
    assert lab.counter("refused", "upstream_protocol") == counted + 1
