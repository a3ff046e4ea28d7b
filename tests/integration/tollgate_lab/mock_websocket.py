"""The server's half of RFC 6455 and of the Responses API over it: each message is an exchange.

A peer that breaks the protocol is told 1002 and noted in the log as `bad`: the mock is strict, so
that a gateway's mistakes show. Compression is declined by saying nothing about it.
"""

import asyncio
import base64
import contextlib
import hashlib
import json
import ssl
import struct
import time

from tollgate_lab.answer import TERMINALS, Answer, encode_json
from tollgate_lab.mock_exchange import GONE, Exchange, play
from tollgate_lab.mock_http import error_body, head_bytes

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
CONTROL_BYTES_MAX = 125
DEFAULT_REFUSE_STATUS = 426
CLOSE_WAIT_S = 5
CLOSE_NORMAL, CLOSE_PROTOCOL_ERROR = 1000, 1002
NOTICES = ("response.processed", "response.cancel")  # of a client; nothing is answered
NO_CODE, LOST = 1005, 1006  # never on the wire; what a log says instead


class ProtocolError(Exception):
    pass


class PeerGone(ConnectionError):
    pass


def asked_for(request):
    return request.method == "GET" and request.get("upgrade").lower() == "websocket"


def accept_of(key):
    return base64.b64encode(hashlib.sha1(key.encode() + GUID).digest()).decode()


def frame(opcode, payload, last=True):
    size = len(payload)
    head = bytes([(0x80 if last else 0) | opcode])
    if size < 126:
        head += bytes([size])
    elif size < 1 << 16:
        head += struct.pack("!BH", 126, size)
    else:
        head += struct.pack("!BQ", 127, size)
    return head + payload


def masked(payload, mask):
    """Masked or unmasked: the same operation."""
    repeated = mask * (len(payload) // 4 + 1)
    size = len(payload)
    mixed = int.from_bytes(payload, "big") ^ int.from_bytes(repeated[:size], "big")
    return mixed.to_bytes(size, "big")


async def read_frame(wire):
    """(opcode, is it the last of its message, payload)"""
    first, second = await wire.read_exactly(2)
    opcode, size = first & 0x0F, second & 0x7F
    if first & 0x70:
        raise ProtocolError("a reserved bit is set, and no extension was agreed on")
    if not second & 0x80:
        raise ProtocolError("a client's frame is not masked")
    if opcode >= CLOSE and (size > CONTROL_BYTES_MAX or not first & 0x80):
        raise ProtocolError("a control frame is too long or in pieces")
    if size == 126:
        (size,) = struct.unpack("!H", await wire.read_exactly(2))
    elif size == 127:
        (size,) = struct.unpack("!Q", await wire.read_exactly(8))
    mask = await wire.read_exactly(4)
    return opcode, bool(first & 0x80), masked(await wire.read_exactly(size), mask)


class Socket:
    """Messages in, through a queue; pings and closes are answered as they come."""

    def __init__(self, wire):
        self._wire = wire
        self.messages = asyncio.Queue()  # (bytes on the connection so far, text); None at the end
        self.gone = asyncio.Event()
        self.close_code = LOST  # what the peer said at its end
        self.bad = None
        self.closing = False

    async def receive(self):
        """Runs beside the answers until the peer has ended."""
        try:
            await self._receive()
        except ProtocolError as error:
            self.bad = str(error)
            await self.close(CLOSE_PROTOCOL_ERROR)
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            self.gone.set()
            self.messages.put_nowait(None)

    async def _receive(self):
        parts = None
        while True:
            opcode, last, payload = await read_frame(self._wire)
            if opcode == CLOSE:
                self.close_code = struct.unpack("!H", payload[:2])[0] if payload else NO_CODE
                return await self.close(self.close_code if payload else CLOSE_NORMAL)
            if opcode == PING:
                await self._wire.write(frame(PONG, payload))
            if opcode in (PING, PONG):
                continue
            if opcode not in (TEXT, CONTINUATION):
                raise ProtocolError(f"opcode {opcode} is none that a client of this API sends")
            if (opcode == CONTINUATION) != (parts is not None):
                raise ProtocolError("a message begins inside another, or goes on without one")
            parts = (parts or b"") + payload
            if last:
                self.messages.put_nowait((self._wire.received, parts))
                parts = None

    async def send(self, text, chosen):
        if self.gone.is_set():
            raise PeerGone(f"close {self.close_code}")
        step = chosen.get("ws_fragments") or max(len(text), 1)
        pieces = [text[at:at + step] for at in range(0, len(text), step)]
        for number, piece in enumerate(pieces):
            opcode = TEXT if number == 0 else CONTINUATION
            await self._wire.write(frame(opcode, piece, number + 1 == len(pieces)),
                                   chosen.get("split"))

    async def ping(self, text):
        await self._wire.write(frame(PING, text.encode()))

    async def close(self, code):
        if not self.closing:
            self.closing = True
            await self._wire.write(frame(CLOSE, struct.pack("!H", code)))


class Message(Exchange):
    """One message of a connection, logged like a request."""

    def __init__(self, upgrade, socket, number, received, text):
        super().__init__(upgrade.mock, upgrade.wire, upgrade.request)
        self.socket = socket
        self.text = text
        self.record.update({
            "websocket": True, "message": number, "connection_bytes": received,
            "body_bytes": len(text), "body_sha256": hashlib.sha256(text).hexdigest()})

    async def answer(self, last_id):
        """The id that the next message may go on from."""
        try:
            body = json.loads(self.text)
            if body["type"] in NOTICES:
                self.record.update({"notice": body["type"], "ended": "complete"})
                del self.record["message"]
                return last_id
            if body["type"] != "response.create":
                raise ValueError(body["type"])
        except (ValueError, KeyError, TypeError) as error:
            await self._error(400, error_body(f"Expected a response.create: {error}"))
            return last_id
        previous = body.get("previous_response_id")
        self.record.update({
            "previous_response_id": previous, "generate": body.get("generate", True),
            "input_items": len(body["input"]) if isinstance(body.get("input"), list) else None})
        chosen = self.choose(body)
        if previous is not None and previous != last_id:
            await self._error(400, error_body(
                f"Previous response with id '{previous}' not found.",
                code="previous_response_not_found", param="previous_response_id"))
            return last_id
        return await self._play(chosen, body)

    async def _play(self, chosen, body):
        if "ws_ping" in chosen:
            await self.socket.ping(chosen["ws_ping"])
        if chosen.get("kind") == "http_error":
            given = chosen.get("body", error_body("The mock refused on purpose."))
            await self._error(chosen.get("status", 400), given, chosen)
            return None  # as the real one does: what a failed turn went on from is forgotten
        answer = Answer(chosen, body, self.mock.next_number())
        self.note(answer)
        await self.pass_gate(chosen)
        await self.pass_gate(chosen, 0)
        state = {"terminal": None}

        async def send(name, payload):
            if name in TERMINALS:
                self.record["events"] = self.record.get("events", 0) + 1
                self.complete()
            await self.socket.send(encode_json(payload), chosen)
            state["terminal"] = name if name in TERMINALS else None

        if await play(self, chosen, answer, send) is None:
            self.record["ended"] = "complete"
            if "ws_close" in chosen:
                await self.socket.close(chosen["ws_close"])
        return None if state["terminal"] == "response.failed" else answer.id

    async def break_off(self, kind):
        self.record["ended"] = kind
        if kind == "stall":
            await self.socket.gone.wait()
        elif kind == "reset":
            self.wire.reset()
        else:
            await self.socket.close(self.record["scenario"].get("ws_close", CLOSE_NORMAL))

    async def _error(self, status, body, chosen=None):
        given = body if isinstance(body, dict) else {"error": {"message": body}}
        self.record["status"] = status
        self.complete()
        await self.socket.send(encode_json({"type": "error", "status": status, **given,
                                            "headers": (chosen or {}).get("headers", {})}),
                               chosen or {})


async def serve(upgrade, scenario):
    """Answers the upgrade, then all messages, one after the other."""
    upgrade.record["websocket"] = True
    upgrade.keep = False
    status = scenario.get("ws_refuse_status")
    if status or scenario.get("websocket") is False:
        refusal = error_body("WebSocket is not served here.")
        return await upgrade.json(status or DEFAULT_REFUSE_STATUS, refusal)
    await upgrade.wire.write(head_bytes(101, [
        ("Upgrade", "websocket"), ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", accept_of(upgrade.request.get("sec-websocket-key"))),
        *scenario.get("headers", {}).items()]))
    upgrade.record.update({"status": 101, "ended": "complete"})
    upgrade.log()
    socket = Socket(upgrade.wire)
    receiving = asyncio.create_task(socket.receive())
    try:
        messages = await converse(upgrade, socket)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(receiving, CLOSE_WAIT_S)
    finally:
        receiving.cancel()
    upgrade.mock.write_log({
        "time": time.time(), "connection": upgrade.wire.number, "websocket": True,
        "closed": socket.close_code, "messages": messages, "bad": socket.bad,
        "connection_bytes": upgrade.wire.received})
    return None


async def converse(upgrade, socket):
    """How many messages there were."""
    number, last_id = 0, None
    while (received := await socket.messages.get()) is not None:
        number += 1
        message = Message(upgrade, socket, number, *received)
        try:
            last_id = await message.answer(last_id)
        except GONE as error:
            message.record["ended"] = f"client_gone: {type(error).__name__} {error}".strip()
        message.log()
        if socket.closing:
            break
    return number
