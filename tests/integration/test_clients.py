"""What the provider sends arrives at a client as if no gateway were there.

How the Codex client takes each of these has been measured, so a raw client is enough; it compares
bytes. What the gateway changes on purpose is below, too.
"""

import json

import pytest

from tollgate_lab.client import Connection, body_of, post, request_bytes

LAB_OPTIONS = {"limits": {"upstream_silence_ms": 4000, "upstream_first_byte_ms": 6000}}
CODEX_HEADERS_MAX = 100
LONG_LINE_BYTES = 12_000_000


def event(kind, eol="\n", name=True, **fields):
    data = json.dumps({"type": kind, **fields}, separators=(",", ":"))
    return (f"event: {kind}{eol}" if name else "") + f"data: {data}{eol}{eol}"


def response(status, **fields):
    usage = {"input_tokens": 7, "output_tokens": 3, "total_tokens": 10}
    return {"id": f"resp_raw_{status}", "object": "response", "status": status, "model": "gpt-5.5",
            "usage": usage, **fields}


def completed(**options):
    return event("response.completed", response=response("completed"), **options)


def failed(code, message="The provider's words."):
    return event("response.failed", response=response(
        "failed", error={"code": code, "message": message}))


def incomplete(reason):
    return event("response.incomplete", response=response(
        "incomplete", incomplete_details={"reason": reason}))


DELTA = event("response.output_text.delta", delta="hi \u00e9".encode().decode("latin-1"))
FAILURE_CODES = ("invalid_prompt", "bio_policy", "cyber_policy", "misalignment_policy_violation",
                 "context_length_exceeded", "insufficient_quota", "usage_not_included",
                 "server_is_overloaded", "rate_limit_exceeded", "usage_limit_reached",
                 "of_next_year")

# how it is recorded → description → the stream, as pieces of the mock
STREAMS = {
    "completed": {
        "no event: lines": [event("response.output_text.delta", name=False, delta="x")
                            + completed(name=False)],
        "lines end with CRLF": [event("response.output_text.delta", eol="\r\n", delta="x")
                                + completed(eol="\r\n")],
        "comments": [": hello\n\n" + DELTA + ": on\n: and on\n\n" + completed() + ": bye\n\n"],
        "junk data": ["data: {{{\n\ndata\n\ndata: 17\n\ndata: null\n\n" + DELTA + completed()],
        "id: and retry: lines": ["id: 4\nretry: 100\n" + DELTA + "id\n\nretry: x\n\n"
                                 + completed()],
        "[DONE] after the end": [DELTA + completed() + "data: [DONE]\n\n"],
        "events after completed": [completed() + DELTA],
        "a line of 12 MB": ['data: {"type":"response.output_text.delta","delta":"',
                            ["x", LONG_LINE_BYTES], '"}\n\n' + completed()],
        "data in several lines": ['data: {"type":\ndata: "response.output_text.delta"}\n\n'
                                  + completed()],
        "byte order mark": ["\xef\xbb\xbf" + DELTA + completed()],
    },
    "failed": {
        **{code: [DELTA + failed(code)] for code in FAILURE_CODES},
        "without an error": [event("response.failed", response=response("failed"))],
    },
    "incomplete": {reason: [DELTA + incomplete(reason)]
                   for reason in ("max_output_tokens", "content_filter")},
    # What it cost is not said: an estimate.
    "upstream_error": {
        "error event": [DELTA + event("error", code="server_error", message="no")],
        "clean end without completed": [DELTA],
        "no events at all": [""],
        "[DONE] alone": [DELTA + "data: [DONE]\n\n"],
        "no blank line after the last event": [DELTA + completed()[:-1]],
    },
}


def text_of(pieces):
    return "".join(piece if isinstance(piece, str) else piece[0] * piece[1] for piece in pieces)


def head(fields, status="200 OK"):
    return f"HTTP/1.1 {status}\r\n" + "".join(f"{field}\r\n" for field in fields) + "\r\n"


def chunked(pieces):
    """Each piece is a chunk."""
    sizes = [len(text_of([piece])) for piece in pieces]
    for piece, size in zip(pieces, sizes):
        if size:
            yield from (f"{size:x}\r\n", piece, "\r\n")
    yield "0\r\n\r\n"


SSE = "Content-Type: text/event-stream"
FRAMINGS = {
    "chunked": lambda pieces: [head([SSE, "Transfer-Encoding: chunked"]), *chunked(pieces)],
    "content-length": lambda pieces: [head([SSE, f"Content-Length: {len(text_of(pieces))}"]),
                                      *pieces],
    "until the connection closes": lambda pieces: [head([SSE, "Connection: close"]), *pieces],
    "after a 102": lambda pieces: [head([], "102 Processing") + head(
        [SSE, "Transfer-Encoding: chunked"]), *chunked(pieces)],
    "after a 103 with links": lambda pieces: [head(["Link: </x>"], "103 Early Hints") + head(
        [SSE, "Transfer-Encoding: chunked"]), *chunked(pieces)],
    "type with parameters": lambda pieces: [head(
        [SSE + "; charset=utf-8", "Transfer-Encoding: chunked"]), *chunked(pieces)],
    "without a type": lambda pieces: [head(["Transfer-Encoding: chunked"]), *chunked(pieces)],
    "with the type of JSON": lambda pieces: [head(
        ["Content-Type: application/json", "Transfer-Encoding: chunked"]), *chunked(pieces)],
}


def ask(lab, pieces, **options):
    return post(lab, body_of(mock={"kind": "raw", "pieces": pieces, **options}))


@pytest.mark.parametrize("outcome,pieces", [
    pytest.param(outcome, pieces, id=f"{outcome}: {description}")
    for outcome, streams in STREAMS.items() for description, pieces in streams.items()])
def test_stream_arrives_byte_for_byte_and_is_settled(lab, outcome, pieces):
    known = {record["id"] for record in lab.records()}
    answer = ask(lab, FRAMINGS["chunked"](pieces))
    assert answer.status == 200
    assert answer.body == text_of(pieces).encode("latin-1")
    (record,) = [each for each in lab.records() if each["id"] not in known]
    assert (record["outcome"], record["estimated"]) == (outcome, outcome == "upstream_error")
    assert record["cost_nano_usd"] > 0


@pytest.mark.parametrize("frame", [pytest.param(frame, id=name)
                                   for name, frame in FRAMINGS.items()])
@pytest.mark.parametrize("split", [None, "bytes"], ids=["at once", "byte by byte"])
def test_framing_of_the_provider_does_not_matter(lab, frame, split):
    pieces = [DELTA, ": comment\r\n\r\n", completed()]
    answer = ask(lab, frame(pieces), split=split)
    assert answer.status == 200
    assert answer.body == text_of(pieces).encode("latin-1")


def test_one_byte_a_chunk(lab):
    text = DELTA + completed()
    answer = ask(lab, FRAMINGS["chunked"](list(text)))
    assert answer.body == text.encode("latin-1")


def test_reset_in_the_middle_is_a_broken_stream_for_the_client_too(lab):
    pieces = [head([SSE, "Transfer-Encoding: chunked"]), *list(chunked([DELTA]))[:-1]]
    with Connection(lab) as connection:
        connection.send(request_bytes(body=body_of(mock={
            "kind": "raw", "pieces": pieces, "end": "reset"})))
        assert connection.head()[0] == 200
        got = b""
        with pytest.raises((ValueError, ConnectionError)):  # an end, but without its last chunk
            for chunk in connection.chunks(strict=True):
                got += chunk
    assert got == DELTA.encode("latin-1")


# What a client may see of a provider's status: None where it is as it came.
STATUSES = {
    "400": (None, {}), "402": (None, {}), "404": (None, {}), "409": (None, {}), "413": (None, {}),
    "422": (None, {}), "429": (None, {}), "500": (None, {}), "502": (None, {}), "503": (None, {}),
    "504": (None, {}), "529": (None, {}),
    # About the gateway's key, not the client's.
    "401": ("upstream_key_rejected", {}), "403": ("upstream_key_rejected", {}),
    # A redirect would have the client send its body elsewhere.
    "307": ("upstream_protocol", {"location": "/v1/elsewhere"}),
}


@pytest.mark.parametrize("status", STATUSES)
def test_status_of_the_provider(lab, status):
    changed, fields = STATUSES[status]
    body = {"error": {"message": "The provider's own.", "type": "some_type", "code": "some_code"}}
    answer = post(lab, body_of(mock={"kind": "http_error", "status": int(status), "body": body,
                                     "headers": fields}))
    if changed is None:
        assert (answer.status, answer.json()) == (int(status), body)
        assert answer.headers["content-type"] == "application/json"
    else:
        assert answer.error["code"] == changed and answer.status in (502, 503)
        assert "The provider's own." not in answer.body.decode()


@pytest.mark.parametrize("body,kind", [
    ("<html>bad gateway</html>", "text/html"), ("", "text/plain"), ("plain words", "text/plain"),
], ids=["html", "empty", "plain"])
def test_error_that_is_not_json_arrives_as_it_is(lab, body, kind):
    answer = ask(lab, [head([f"Content-Type: {kind}", f"Content-Length: {len(body)}"],
                            "502 Bad Gateway"), body])
    assert (answer.status, answer.body.decode()) == (502, body)
    assert answer.headers["content-type"] == kind


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("given,seen", [
    ("2", "2"), ("10", "10"), ("11", None), ("3600", None),
    ("Sat, 21 Nov 2026 20:00:00 GMT", None), (None, None),
], ids=str)
def test_retry_after_is_passed_when_a_person_can_wait_for_it(lab, status, given, seen):
    fields = {"Retry-After": given} if given else {}
    answer = post(lab, body_of(mock={"kind": "http_error", "status": status, "headers": fields}))
    assert (answer.status, answer.headers.get("retry-after")) == (status, seen)


@pytest.mark.parametrize("field,seen", [
    ("x-codex-turn-state", True), ("x-reasoning-included", True),
    ("openai-model", True), ("openai-processing-ms", True), ("x-of-next-year", True),
    # A person's limits are the gateway's to tell; the account is nobody's business.
    ("x-codex-primary-used-percent", False), ("x-codex-secondary-reset-at", False),
    ("x-codex-credits-balance", False), ("x-codex-promo-message", False),
    ("x-models-etag", False),  # the list of models is the gateway's, too
    ("openai-organization", False), ("set-cookie", False), ("alt-svc", False),
])
def test_header_fields_of_the_provider(lab, field, seen):
    answer = post(lab, body_of(mock={"headers": {field: "given"}}))
    assert answer.status == 200
    assert (answer.headers.get(field) == "given") == seen


def test_request_id_of_the_provider_has_a_name_of_its_own(lab):
    answer = post(lab, body_of())
    provider_id = answer.headers["x-upstream-request-id"]
    assert provider_id == f"req_{answer.events()[-1]['response']['id']}"
    assert answer.headers["x-request-id"] != provider_id


def test_more_header_fields_than_the_client_takes(lab):
    """Codex gives up on an answer with more than 100, as if it had none, 30 times."""
    answer = post(lab, body_of(mock={"header_count": 150}))
    assert answer.status in (200, 502, 503)
    assert len(answer.headers) <= CODEX_HEADERS_MAX
    assert post(lab, body_of(mock={"header_count": 80})).status == 200


@pytest.mark.parametrize("size", [64_000, 300_000])
def test_one_large_header_field(lab, size):
    answer = post(lab, body_of(mock={"header_bytes": size}))
    assert answer.status == 200 and len(answer.headers["x-mock-large"]) == size


@pytest.mark.parametrize("close", [False, True], ids=["kept open", "closed"])
def test_refusal_before_the_body_was_read(lab, close):
    """30 MB on their way while the provider says no: no reset may eat the sentence."""
    error = {"message": "Too much.", "type": "invalid_request_error", "code": "invalid_prompt"}
    early = json.dumps({"early": True, "kind": "http_error", "status": 400, "close": close,
                        "body": {"error": error}})
    answer = post(lab, body_of(text="x" * 30_000_000), headers=[("x-mock", early)])
    assert (answer.status, answer.error["message"]) == (400, "Too much.")
