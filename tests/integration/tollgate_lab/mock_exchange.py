"""What all exchanges with the mock provider share; the record of one becomes a line of the log."""

import asyncio
import json
import ssl
import time

from tollgate_lab.answer import TERMINALS
from tollgate_lab.gate import Gate
from tollgate_lab.mock_coding import coder
from tollgate_lab.mock_http import error_body, head_bytes
from tollgate_lab.scenario import turn_metadata

BREAKS = ("reset", "stall", "no_terminal")
GONE = (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError)


class Exchange:
    def __init__(self, mock, wire, request):
        self.mock = mock
        self.wire = wire
        self.request = request
        self.keep = request.get("connection").lower() != "close"
        self.logged = False
        self.record = {
            "time": time.time(),
            "connection": wire.number,
            "method": request.method,
            "path": request.target,
            "headers": request.headers,
            "ended": "cut",
        }

    async def run(self):
        """True when the connection may carry another request."""
        try:
            await self.answer()
        except GONE as error:
            self.record["ended"] = f"client_gone: {type(error).__name__}"
            self.keep = False
        finally:
            self.log()
        return self.keep

    def log(self):
        if not self.logged:
            self.logged = True
            self.record.setdefault("connection_bytes", self.wire.received)
            self.mock.write_log(self.record)

    def complete(self):
        """Before the last bytes go out: whoever has read the answer finds it in the log."""
        self.record["ended"] = "complete"
        self.log()

    def choose(self, body):
        """The scenario of this body; what the record says of every body is noted."""
        claimed = turn_metadata(body)
        thread = claimed.get("thread_id") or self.request.get("thread-id", "anyone")
        chosen = self.mock.chooser.choose(self.request.get("x-mock"), body, thread,
                                          self.mock.control())
        self.record["scenario"] = chosen
        self.record["model"] = body.get("model")
        self.record["request_kind"] = claimed.get("request_kind")
        self.keep = self.keep and not chosen.get("close")
        return chosen

    def note(self, answer):
        self.record["response_id"] = answer.id
        self.record["tier"] = answer.tier

    def keep_stored(self, answer, response):
        if answer.store:
            self.mock.stored[answer.id] = response

    async def begin_stream(self, chosen, fields=()):
        """Sends the head of an event stream; returns the coder of what follows."""
        code = coder(chosen.get("coding"))
        head = [("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked"), *fields]
        await self.wire.write(head_bytes(200, head + self._more_fields(chosen, code)))
        await self.pass_gate(chosen, 0)
        return code

    async def end_stream(self, code):
        last = code.end()
        if last:
            await self.chunk(last)
        self.complete()
        await self.wire.write(b"0\r\n\r\n")

    @staticmethod
    def _more_fields(chosen, code):
        fields = [("Content-Encoding", code.name)] if code.name else []
        fields += chosen.get("headers", {}).items()
        if chosen.get("header_bytes"):
            fields.append(("x-mock-large", "h" * chosen["header_bytes"]))
        return fields + [(f"x-mock-{n}", "v") for n in range(chosen.get("header_count", 0))]

    async def pass_gate(self, chosen, sent=None):
        if "gate" in chosen and chosen.get("gate_after") == sent:
            await Gate(self.mock.folder, chosen["gate"]).passed(chosen.get("gate_count"))

    async def break_off(self, kind):
        self.record["ended"] = kind
        self.keep = False
        if kind == "stall":
            # Nothing more is said; the other end decides how long it waits.
            await self.wire.read_some()
        elif kind == "reset":
            self.wire.reset()

    async def http_error(self, chosen):
        status = chosen.get("status", 400)
        body = chosen.get("body", error_body("The mock refused on purpose."))
        if isinstance(body, str):
            body = body.replace("{authorization}", self.request.get("authorization"))
        await self.json(status, body, chosen)

    async def json(self, status, body, chosen=None):
        code = coder((chosen or {}).get("coding"))
        raw = (body if isinstance(body, str) else json.dumps(body)).encode()
        raw = code.piece(raw) + code.end()
        fields = [("Content-Type", "application/json"), ("Content-Length", len(raw)),
                  ("Connection", "keep-alive" if self.keep else "close")]
        self.record["status"] = status
        fields += self._more_fields(chosen or {}, code)
        self.complete()
        await self.wire.write(head_bytes(status, fields) + raw, (chosen or {}).get("split"))

    async def chunk(self, data, split=None):
        step = 1 if split == "bytes" else split or len(data)
        for at in range(0, len(data), step):
            piece = data[at:at + step]
            await self.wire.write(b"%x\r\n%s\r\n" % (len(piece), piece))


async def play(exchange, chosen, answer, send):
    """Sends the events of an answer; says how it broke off, if the scenario has it so."""
    kind = chosen.get("kind", "text")
    sent = 0
    for name, payload in answer.events():
        terminal = name in TERMINALS
        if kind in BREAKS and (terminal or sent >= chosen.get("after", 3)):
            await exchange.break_off(kind)
            return kind
        if terminal:
            exchange.record["usage"] = answer.usage
            exchange.keep_stored(answer, payload["response"])
        await send(name, payload)
        sent += 1
        exchange.record["events"] = sent
        if chosen.get("pace_ms"):
            await asyncio.sleep(chosen["pace_ms"] / 1000)
        await exchange.pass_gate(chosen, sent)
    return None
