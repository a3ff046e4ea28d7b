"""What the mock provider answers: a scenario (plain dict) in, the events of an answer out.

Keys of a scenario, all optional:
  kind            text | tool | failed | incomplete | http_error | no_terminal | reset | stall
  events          text deltas of the answer (default: a sentence in 3)
  event_bytes     characters of each delta (default 8)
  terminal_bytes  the terminal event is padded to at least this size
  pace_ms         pause between two events
  after           events that go out before a reset, a stall or a silent end (default 3)
  gate            name of a gate (Lab.gate) at which the answer waits until a test opens it
  gate_after      events that go out before the gate (default: none, not even the head)
  split           "bytes": one write a byte; N: writes of N bytes
  usage           {"input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens"}; null: none
  status, body    of an http_error; "{authorization}" in the body echoes what the client sent
  code, message   of a failed response
  reason          of an incomplete one
  cmd             what a tool turn makes the client run
  model           the model that the answer names (default: the asked one)
  headers         {name: value}: more response headers
  header_bytes    one more response header of this size
  header_count    this many more response headers
  early           answer (http_error) before the body is read
  close           end the connection after the answer
"""

import json

DEFAULT_USAGE = {
    "input_tokens": 1000,
    "cached_tokens": 400,
    "output_tokens": 50,
    "reasoning_tokens": 20,
}


def usage_of(scenario):
    """The usage object of the wire, or None."""
    given = scenario.get("usage", DEFAULT_USAGE)
    if given is None:
        return None
    usage = dict(DEFAULT_USAGE, **given)
    # A part never exceeds its whole, whatever a test leaves out.
    usage["cached_tokens"] = min(usage["cached_tokens"], usage["input_tokens"])
    usage["reasoning_tokens"] = min(usage["reasoning_tokens"], usage["output_tokens"])
    return {
        "input_tokens": usage["input_tokens"],
        "input_tokens_details": {"cached_tokens": usage["cached_tokens"]},
        "output_tokens": usage["output_tokens"],
        "output_tokens_details": {"reasoning_tokens": usage["reasoning_tokens"]},
        "total_tokens": usage["input_tokens"] + usage["output_tokens"],
    }


class Answer:
    """One response object and its event sequence, in the order the real API has."""

    def __init__(self, scenario, request, number):
        self.scenario = scenario
        self.id = f"resp_mock_{number}"
        self.model = scenario.get("model", request.get("model", "gpt-5.5"))
        self.tier = request.get("service_tier", "default")
        self.usage = usage_of(scenario)
        self._sequence = 0

    def _event(self, kind, **fields):
        event = {"type": kind, "sequence_number": self._sequence, **fields}
        self._sequence += 1
        return kind, event

    def response(self, status, **fields):
        body = {
            "id": self.id,
            "object": "response",
            "created_at": 1795224796,
            "status": status,
            "model": self.model,
            "service_tier": self.tier,
            "output": [],
            "usage": None,
        }
        body.update(fields)
        return body

    def text(self):
        if not {"events", "event_bytes"} & set(self.scenario):
            yield from ("Hello ", "from the ", "mock provider.")
            return
        length = self.scenario.get("event_bytes", 8)
        for number in range(self.scenario.get("events", 3)):
            yield f"w{number} ".ljust(length, "x")

    def message(self, text, status):
        content = [{"type": "output_text", "text": text, "annotations": []}] if text else []
        return {
            "id": f"msg_{self.id}",
            "type": "message",
            "status": status,
            "role": "assistant",
            "content": content,
        }

    def events(self):
        """Yields (event name, payload); the last one is terminal."""
        yield self._event("response.created", response=self.response("in_progress"))
        yield self._event("response.in_progress", response=self.response("in_progress"))
        if self.scenario.get("kind") == "tool":
            item = yield from self._tool_call()
        else:
            item = yield from self._message()
        yield self._terminal([item])

    def _tool_call(self):
        arguments = json.dumps({"cmd": self.scenario.get("cmd", "echo tollgate-tool-ran")})
        item = {
            "id": f"fc_{self.id}",
            "type": "function_call",
            "status": "in_progress",
            "call_id": "call_1",
            "name": "exec_command",
            "arguments": "",
        }
        at = {"output_index": 0}
        yield self._event("response.output_item.added", item=item, **at)
        at_item = dict(at, item_id=item["id"])
        yield self._event("response.function_call_arguments.delta", delta=arguments, **at_item)
        yield self._event("response.function_call_arguments.done", arguments=arguments, **at_item)
        item = dict(item, status="completed", arguments=arguments)
        yield self._event("response.output_item.done", item=item, **at)
        return item

    def _message(self):
        at = {"output_index": 0}
        in_item = {"item_id": f"msg_{self.id}", "output_index": 0, "content_index": 0}
        empty = {"type": "output_text", "text": "", "annotations": []}
        yield self._event("response.output_item.added", item=self.message("", "in_progress"), **at)
        yield self._event("response.content_part.added", part=empty, **in_item)
        whole = ""
        for delta in self.text():
            whole += delta
            yield self._event("response.output_text.delta", delta=delta, **in_item)
        yield self._event("response.output_text.done", text=whole, **in_item)
        yield self._event("response.content_part.done", part=dict(empty, text=whole), **in_item)
        item = self.message(whole, "completed")
        yield self._event("response.output_item.done", item=item, **at)
        return item

    def final_response(self, output):
        kind = self.scenario.get("kind")
        fields = {"output": output, "usage": self.usage}
        pad = self.scenario.get("terminal_bytes", 0)
        if pad:
            fields["metadata"] = {"pad": "p" * pad}
        if kind == "failed":
            code = self.scenario.get("code", "server_error")
            message = self.scenario.get("message", "The mock failed on purpose.")
            return self.response("failed", error={"code": code, "message": message}, **fields)
        if kind == "incomplete":
            reason = self.scenario.get("reason", "max_output_tokens")
            return self.response("incomplete", incomplete_details={"reason": reason}, **fields)
        return self.response("completed", **fields)

    def _terminal(self, output):
        response = self.final_response(output)
        return self._event("response." + response["status"], response=response)


def encode_event(name, payload):
    data = json.dumps(payload, separators=(",", ":"))
    return f"event: {name}\ndata: {data}\n\n".encode()


def last_user_text(request):
    """Text of the last item of the input, when it is a user's message."""
    items = request.get("input")
    if isinstance(items, str):
        return items
    texts = [
        part.get("text", "")
        for item in items or []
        if isinstance(item, dict) and item.get("role") == "user"
        for part in (item.get("content") or [])
        if isinstance(part, dict)
    ]
    return texts[-1] if texts else ""


def carries_tool_output(request):
    items = request.get("input")
    return isinstance(items, list) and any(
        isinstance(item, dict) and str(item.get("type", "")).endswith("_call_output")
        for item in items
    )


def choose(header, request, fallback):
    """Scenario of a request: its x-mock header, its metadata.mock, its last words, the control file.

    In words the scenario stands after "mock:", as in: say hello mock:{"kind":"tool"}
    """
    if header:
        return json.loads(header)
    metadata = request.get("metadata")
    if isinstance(metadata, dict) and "mock" in metadata:
        mock = metadata["mock"]
        return mock if isinstance(mock, dict) else json.loads(mock)
    _, found, words = last_user_text(request).partition("mock:")
    if found:
        scenario, _ = json.JSONDecoder().raw_decode(words)
        # A tool turn is one call; the request that carries its output is answered with text.
        if scenario.get("kind") == "tool" and carries_tool_output(request):
            return dict(scenario, kind="text")
        return scenario
    return dict(fallback)
