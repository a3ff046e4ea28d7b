"""Which scenario a request of the mock provider gets: a plain dict, chosen by the request itself.

Keys of a scenario, all optional:
  kind            text | tool | failed | incomplete | http_error | no_terminal | reset | stall | raw
  pieces          of a raw answer, head and all: latin-1 text, or [text, how many times]
  end             of a raw answer: close (default) | keep | reset
  script          scenarios that the requests of one thread get, one after the other; the last stays
  text            the answer's text, in one delta
  events          text deltas of the answer (default: a sentence in 3)
  event_bytes     characters of each delta (default 8)
  extra_events    events that are sent as they are, before the terminal one
  terminal_bytes  the terminal event is padded to at least this size
  pace_ms         pause between two events
  after           events that go out before a reset, a stall or a silent end (default 3)
  gate            name of a gate (Lab.gate) at which the answer waits until a test opens it
  gate_after      events that go out before the gate (default: none, not even the head)
  gate_count      the gate opens by itself when so many answers have come to it
  split           "bytes": one write a byte; N: writes of N bytes
  coding          gzip | zstd: content coding of the answer
  usage           {"input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens"}; null: none
  status, body    of an http_error; "{authorization}" in the body echoes what the client sent
  code, message   of a failed response
  reason          of an incomplete one
  cmd             what a tool turn makes the client run
  calls           what a tool turn calls: [{"name", "arguments": {} or "input": "", "namespace"}]
  model           the model that the answer names (default: the asked one)
  headers         {name: value}: more response headers
  header_bytes    one more response header of this size
  header_count    this many more response headers
  early           answer (http_error) before the body is read
  close           end the connection after the answer

Of WebSocket connections only (x-mock of the upgrade, or the control file):
  websocket       false: the upgrade is refused
  ws_refuse_status  with this status (default 426); alone it refuses, too
  ws_close        code of the close frame: in place of the rest with no_terminal (default 1000),
                  else after the answer
  ws_fragments    each message in frames of this many bytes
  ws_ping         a ping before each answer, with this text
"""

import json


def last_user_text(request):
    """Text of the last message to the model: a user's, or what an agent tells a sub-agent."""
    items = request.get("input") or request.get("messages")
    if isinstance(items, str):
        return items
    texts = []
    for item in items or []:
        if not isinstance(item, dict):
            continue
        if item.get("role") != "user" and item.get("type") != "agent_message":
            continue
        content = item.get("content") or []
        parts = [{"text": content}] if isinstance(content, str) else content
        # The mock's "encryption" of what goes to sub-agents is none.
        texts += [part.get("text") or part.get("encrypted_content", "")
                  for part in parts if isinstance(part, dict)]
    return texts[-1] if texts else ""


def carries_tool_output(request):
    items = request.get("input")
    return isinstance(items, list) and any(
        isinstance(item, dict) and str(item.get("type", "")).endswith("_call_output")
        for item in items
    )


def turn_metadata(request):
    """What the Codex client says about a request: kind, ids, where it comes from."""
    given = request.get("client_metadata")
    try:
        return json.loads(given["x-codex-turn-metadata"])
    except (TypeError, KeyError, ValueError):
        return {}


def own_scenario(header, request):
    """The scenario that a request names: by its x-mock header, its metadata.mock, its last words.

    In words the scenario stands after "mock:", as in: say hello mock:{"kind":"tool"}
    """
    if header:
        return json.loads(header)
    metadata = request.get("metadata")
    if isinstance(metadata, dict) and "mock" in metadata:
        mock = metadata["mock"]
        return mock if isinstance(mock, dict) else json.loads(mock)
    # What the client asks by itself, with the same words in its input.
    claimed = turn_metadata(request)
    if claimed.get("thread_source") == "thread_title":
        return {"text": '{"title":"A title of the mock"}'}
    if claimed.get("request_kind") == "compaction":
        return {"text": "A summary by the mock."}
    _, found, words = last_user_text(request).partition("mock:")
    if not found:
        return None
    scenario, _ = json.JSONDecoder().raw_decode(words)
    # A tool turn is one call; the request that carries its output is answered with text.
    if scenario.get("kind") == "tool" and carries_tool_output(request):
        return dict(scenario, kind="text")
    return scenario


class Chooser:
    """Remembers how far each thread is in its script."""

    def __init__(self):
        self._scripts = {}  # thread → [script, requests so far]

    def choose(self, header, request, thread, fallback):
        own = own_scenario(header, request)
        scenario = dict(fallback if own is None else own)
        running = self._scripts.get(thread)
        # Over WebSocket the output of a tool comes without the words that named the script.
        if running and own is None and carries_tool_output(request):
            scenario = {"script": running[0]}
        script = scenario.pop("script", None)
        if not script:
            return scenario
        if not running or running[0] != script:
            running = self._scripts[thread] = [script, 0]
        step = script[min(running[1], len(script) - 1)]
        running[1] += 1
        return {**scenario, **step}
