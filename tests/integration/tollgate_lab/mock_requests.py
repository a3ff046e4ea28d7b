"""Requests over HTTP: which of the mock's interfaces they mean, and POST /v1/responses itself."""

import asyncio
import contextlib
import hashlib
import json

from tollgate_lab import mock_other, mock_websocket
from tollgate_lab.answer import Answer, encode_event
from tollgate_lab.mock_coding import decoded
from tollgate_lab.mock_exchange import Exchange, play
from tollgate_lab.mock_http import error_body, head_bytes, read_body

LINGER_S = 5


class HttpExchange(Exchange):
    async def answer(self):
        header = self.request.get("x-mock")
        early = json.loads(header) if header else self.mock.control()
        if early.get("early"):
            self.record["early"] = True
            self.keep = False
            await self.http_error(early)
            return await self._linger()
        self.request.body = await read_body(self.wire, self.request)
        self.record["body_bytes"] = len(self.request.body)
        self.record["body_sha256"] = hashlib.sha256(self.request.body).hexdigest()
        self.record["authorized"] = self._authorized()
        if not self.record["authorized"]:
            shown = ", ".join(self.request.all("authorization"))
            return await self.json(401, error_body(f"Incorrect API key provided: {shown}."))
        if mock_websocket.asked_for(self.request):
            return await mock_websocket.serve(self, early)
        answer = mock_other.ROUTES.find(self.request.method, self.request.path)
        if answer is not None:
            return await answer(self)
        if self.request.path != "/v1/responses" or self.request.method not in ("POST", "HEAD"):
            return await self.json(404, error_body(f"Unknown path {self.request.path}"))
        if self.request.method == "HEAD":
            await self.wire.write(head_bytes(200, [("Content-Length", 0)]))
            self.record["ended"] = "complete"
            return None
        return await self._respond()

    async def _linger(self):
        # As real servers do: closing over unread bytes would reset the connection, and the reset
        # overtakes the answer.
        with contextlib.suppress(asyncio.TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while await self.wire.read_some():
                    pass

    def _authorized(self):
        key = self.mock.key
        return key is None or self.request.all("authorization") == [f"Bearer {key}"]

    async def _respond(self):
        body = json.loads(decoded(self.request.get("content-encoding"), self.request.body))
        chosen = self.choose(body)
        if chosen.get("kind") == "http_error":
            return await self.http_error(chosen)
        if chosen.get("kind") == "raw":
            return await self._raw(chosen)
        answer = Answer(chosen, body, self.mock.next_number())
        self.note(answer)
        await self.pass_gate(chosen)
        if body.get("stream"):
            return await self._stream(chosen, answer)
        self.record["usage"] = answer.usage
        whole = answer.whole()
        self.keep_stored(answer, whole)
        return await self.json(200, whole, chosen)

    async def _raw(self, chosen):
        for piece in chosen["pieces"]:
            text, times = (piece, 1) if isinstance(piece, str) else piece
            await self.wire.write(text.encode("latin-1") * times, chosen.get("split"))
        self.record["ended"] = "complete"
        self.keep = self.keep and chosen.get("end") == "keep"
        if chosen.get("end") == "reset":
            self.wire.reset()

    async def _stream(self, chosen, answer):
        code = await self.begin_stream(chosen, [("x-request-id", f"req_{answer.id}")])

        plain = hashlib.sha256()

        async def send(name, payload):
            event = encode_event(name, payload)
            plain.update(event)
            await self.chunk(code.piece(event), chosen.get("split"))

        broken = await play(self, chosen, answer, send)
        self.record["answer_sha256"] = plain.hexdigest()
        if broken == "no_terminal":
            await self.wire.write(b"0\r\n\r\n")
        if not broken:
            await self.end_stream(code)
