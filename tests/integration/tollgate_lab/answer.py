"""A response object of the mock provider, and its events in the order that the real API has."""

import json

DEFAULT_USAGE = {
    "input_tokens": 1000,
    "cached_tokens": 400,
    "output_tokens": 50,
    "reasoning_tokens": 20,
}
TERMINALS = ("response.completed", "response.failed", "response.incomplete")


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


def text_of(scenario):
    """The text of an answer, in the pieces that its deltas have."""
    if "text" in scenario:
        yield scenario["text"]
    elif not {"events", "event_bytes"} & set(scenario):
        yield from ("Hello ", "from the ", "mock provider.")
    else:
        length = scenario.get("event_bytes", 8)
        for number in range(scenario.get("events", 3)):
            yield f"w{number} ".ljust(length, "x")


def calls_of(scenario):
    """What a tool turn calls: [{"name", "arguments" or "input"}]."""
    run = {"name": "exec_command",
           "arguments": {"cmd": scenario.get("cmd", "echo tollgate-tool-ran")}}
    return scenario.get("calls", [run])


class Answer:
    def __init__(self, scenario, request, number):
        self.scenario = scenario
        self.id = f"resp_mock_{number}"
        self.model = scenario.get("model", request.get("model", "gpt-5.5"))
        self.tier = request.get("service_tier", "default")
        self.store = request.get("store", True)
        self.generate = request.get("generate", True)
        self.usage = usage_of(scenario if self.generate else {
            "usage": {"input_tokens": 0, "output_tokens": 0}})
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
        if not self.generate:
            yield self._terminal([])
            return
        yield self._event("response.in_progress", response=self.response("in_progress"))
        output = []
        if self.scenario.get("kind") == "tool":
            for at, call in enumerate(calls_of(self.scenario)):
                output.append((yield from self._call(at, call)))
        else:
            output.append((yield from self._message()))
        for event in self.scenario.get("extra_events", ()):
            yield event.get("type", ""), event
        yield self._terminal(output)

    def call(self, at, call):
        """The item of a call, completed."""
        free_form = "input" in call
        item = {"id": f"{'ctc' if free_form else 'fc'}_{self.id}_{at}",
                "type": "custom_tool_call" if free_form else "function_call",
                "status": "completed", "call_id": f"call_{self.id}_{at}", "name": call["name"]}
        if "namespace" in call:
            item["namespace"] = call["namespace"]
        if free_form:
            return {**item, "input": call["input"]}
        return {**item, "arguments": json.dumps(call.get("arguments", {}))}

    def _call(self, at, call):
        item = self.call(at, call)
        part, kind = (("input", "custom_tool_call_input") if "input" in item else
                      ("arguments", "function_call_arguments"))
        place = {"output_index": at}
        in_item = dict(place, item_id=item["id"])
        yield self._event("response.output_item.added",
                          item={**item, "status": "in_progress", part: ""}, **place)
        yield self._event(f"response.{kind}.delta", delta=item[part], **in_item)
        yield self._event(f"response.{kind}.done", **{part: item[part]}, **in_item)
        yield self._event("response.output_item.done", item=item, **place)
        return item

    def _message(self):
        at = {"output_index": 0}
        in_item = {"item_id": f"msg_{self.id}", "output_index": 0, "content_index": 0}
        empty = {"type": "output_text", "text": "", "annotations": []}
        yield self._event("response.output_item.added", item=self.message("", "in_progress"), **at)
        yield self._event("response.content_part.added", part=empty, **in_item)
        whole = ""
        for delta in text_of(self.scenario):
            whole += delta
            yield self._event("response.output_text.delta", delta=delta, **in_item)
        yield self._event("response.output_text.done", text=whole, **in_item)
        yield self._event("response.content_part.done", part=dict(empty, text=whole), **in_item)
        item = self.message(whole, "completed")
        yield self._event("response.output_item.done", item=item, **at)
        return item

    def whole(self):
        """The response object of an answer that is not streamed."""
        if self.scenario.get("kind") == "tool":
            return self._final([self.call(*each) for each in enumerate(calls_of(self.scenario))])
        return self._final([self.message("".join(text_of(self.scenario)), "completed")])

    def _final(self, output):
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
        response = self._final(output)
        return self._event("response." + response["status"], response=response)


def encode_json(payload):
    return json.dumps(payload, separators=(",", ":")).encode()


def encode_event(name, payload):
    return b"event: %s\ndata: %s\n\n" % (name.encode(), encode_json(payload))
