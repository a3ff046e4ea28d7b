"""The provider's other interfaces: models, stored responses, compaction, chat, embeddings, images.
"""

import base64
import json
import re
import struct

from tollgate_lab.answer import Answer, calls_of, encode_json, text_of, usage_of
from tollgate_lab.mock_http import error_body

MODELS = ["gpt-5.5", "gpt-5.6-luna", "gpt-6-luna"]
CREATED = 1795224796
VECTOR = (0.25, -0.5, 0.125)
# One red pixel: what an image of the mock looks like.
PIXEL = ("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSu"
         "QmCC")


async def models(exchange):
    data = [{"id": name, "object": "model", "created": CREATED, "owned_by": "mock"}
            for name in MODELS]
    await exchange.json(200, {"object": "list", "data": data})


# Stored responses

async def read_stored(exchange, response_id):
    await _with_stored(exchange, response_id, lambda stored: stored)


async def read_input_items(exchange, response_id):
    await _with_stored(exchange, response_id, lambda stored: {
        "object": "list", "data": [], "has_more": False})


async def delete_stored(exchange, response_id):
    def delete(stored):
        del exchange.mock.stored[response_id]
        return {"id": stored["id"], "object": "response", "deleted": True}

    await _with_stored(exchange, response_id, delete)


async def cancel_stored(exchange, response_id):
    await _with_stored(exchange, response_id, lambda stored: {**stored, "status": "cancelled"})


async def _with_stored(exchange, response_id, make):
    stored = exchange.mock.stored.get(response_id)
    exchange.record["response_id"] = response_id
    if stored is None:
        return await exchange.json(404, error_body(
            f"Response with id '{response_id}' not found.", code="response_not_found"))
    return await exchange.json(200, make(stored))


# What is metered

async def _begin(exchange):
    """(scenario, body), or None for the scenario when the answer was an error."""
    body = json.loads(exchange.request.body)
    chosen = exchange.choose(body)
    if chosen.get("kind") == "http_error":
        await exchange.http_error(chosen)
        return None, body
    await exchange.pass_gate(chosen)
    return chosen, body


async def compact(exchange):
    chosen, body = await _begin(exchange)
    if chosen is None:
        return
    answer = Answer(chosen, body, exchange.mock.next_number())
    exchange.note(answer)
    exchange.record["usage"] = answer.usage
    item = {"id": f"cmp_{answer.id}", "type": "compaction", "encrypted_content": "bW9jaw=="}
    await exchange.json(200, {"id": answer.id, "object": "response.compaction",
                              "created_at": CREATED, "output": [item], "usage": answer.usage},
                        chosen)


def chat_usage_of(scenario):
    usage = usage_of(scenario)
    return usage and {
        "prompt_tokens": usage["input_tokens"],
        "completion_tokens": usage["output_tokens"],
        "total_tokens": usage["total_tokens"],
        "prompt_tokens_details": usage["input_tokens_details"],
        "completion_tokens_details": usage["output_tokens_details"],
    }


async def chat(exchange):
    chosen, body = await _begin(exchange)
    if chosen is None:
        return
    common = {"id": f"chatcmpl-mock_{exchange.mock.next_number()}", "created": CREATED,
              "model": chosen.get("model", body.get("model")),
              "service_tier": body.get("service_tier", "default")}
    exchange.record["response_id"] = common["id"]
    exchange.record["usage"] = chat_usage_of(chosen)
    if body.get("stream"):
        asked = (body.get("stream_options") or {}).get("include_usage", False)
        exchange.record["usage_asked"] = asked
        return await _stream_chat(exchange, chosen, common, asked)
    tool = chosen.get("kind") == "tool"
    message = {"role": "assistant", "refusal": None,
               "content": None if tool else "".join(text_of(chosen))}
    if tool:
        message["tool_calls"] = _tool_calls(chosen)
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if tool else "stop"}
    return await exchange.json(200, {**common, "object": "chat.completion", "choices": [choice],
                                     "usage": exchange.record["usage"]}, chosen)


def _tool_calls(chosen):
    return [{"id": f"call_{number}", "type": "function",
             "function": {"name": call["name"], "arguments": json.dumps(call["arguments"])}}
            for number, call in enumerate(calls_of(chosen))]


def _chat_deltas(chosen):
    """(delta, finish_reason) of each chunk."""
    yield {"role": "assistant", "content": ""}, None
    if chosen.get("kind") == "tool":
        for index, call in enumerate(_tool_calls(chosen)):
            yield {"tool_calls": [{"index": index, **call}]}, None
        yield {}, "tool_calls"
        return
    for text in text_of(chosen):
        yield {"content": text}, None
    yield {}, "stop"


async def _stream_chat(exchange, chosen, common, usage_asked):
    code = await exchange.begin_stream(chosen)
    common = {**common, "object": "chat.completion.chunk"}
    if usage_asked:
        common["usage"] = None
    chunks = [{**common, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
              for delta, reason in _chat_deltas(chosen)]
    if usage_asked:
        chunks.append({**common, "choices": [], "usage": exchange.record["usage"]})
    for number, chunk in enumerate(chunks):
        if chosen.get("kind") in ("reset", "stall", "no_terminal") and (
                number >= chosen.get("after", 3)):
            await exchange.break_off(chosen["kind"])
            if chosen["kind"] == "no_terminal":
                await exchange.wire.write(b"0\r\n\r\n")
            return
        await exchange.chunk(code.piece(b"data: %s\n\n" % encode_json(chunk)),
                             chosen.get("split"))
        exchange.record["events"] = number + 1
        await exchange.pass_gate(chosen, number + 1)
    await exchange.chunk(code.piece(b"data: [DONE]\n\n"))
    await exchange.end_stream(code)


async def embeddings(exchange):
    chosen, body = await _begin(exchange)
    if chosen is None:
        return
    given = body.get("input")
    inputs = given if isinstance(given, list) and isinstance(given[0], (str, list)) else [given]
    used = (chosen.get("usage") or {"input_tokens": 8})["input_tokens"]
    exchange.record["usage"] = {"prompt_tokens": used, "total_tokens": used}
    vector = list(VECTOR)
    if body.get("encoding_format") == "base64":  # what the SDKs ask for unless told otherwise
        vector = base64.b64encode(struct.pack(f"<{len(VECTOR)}f", *VECTOR)).decode()
    await exchange.json(200, {
        "object": "list", "model": chosen.get("model", body.get("model")),
        "data": [{"object": "embedding", "index": index, "embedding": vector}
                 for index in range(len(inputs))],
        "usage": exchange.record["usage"]}, chosen)


async def images(exchange):
    chosen, body = await _begin(exchange)
    if chosen is None:
        return
    given = usage_of(chosen)
    if given is not None:
        details = {"text_tokens": given["input_tokens"], "image_tokens": 0}
        given = {"input_tokens": given["input_tokens"], "input_tokens_details": details,
                 "output_tokens": given["output_tokens"], "total_tokens": given["total_tokens"]}
    exchange.record["usage"] = given
    data = [{"b64_json": PIXEL}] * (body.get("n") or 1)
    await exchange.json(200, {"created": CREATED, "data": data, "usage": given}, chosen)


class Routes:
    def __init__(self, table):
        self._table = [(method, re.compile(path), answer) for method, path, answer in table]

    def find(self, method, path):
        """A function of the exchange that answers it, or None."""
        for wanted, pattern, answer in self._table:
            matched = pattern.fullmatch(path)
            if wanted == method and matched:
                return lambda exchange: answer(exchange, *matched.groups())
        return None


ROUTES = Routes([
    ("GET", "/v1/models", models),
    ("POST", "/v1/responses/compact", compact),
    ("GET", "/v1/responses/([^/]+)", read_stored),
    ("DELETE", "/v1/responses/([^/]+)", delete_stored),
    ("GET", "/v1/responses/([^/]+)/input_items", read_input_items),
    ("POST", "/v1/responses/([^/]+)/cancel", cancel_stored),
    ("POST", "/v1/chat/completions", chat),
    ("POST", "/v1/embeddings", embeddings),
    ("POST", "/v1/images/generations", images),
])
