"""A WebSocket client of the tests: blocking, and able to send frames that none should."""

import base64
import json
import os
import struct

from tollgate_lab.client import Connection, request_bytes
from tollgate_lab.mock_websocket import masked

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


def masked_frame(opcode, payload, last=True, mask=None, first=0):
    """A client's frame; `first` sets more bits of its first byte, `mask` b"" leaves it unmasked."""
    mask = os.urandom(4) if mask is None else mask
    head = bytes([(0x80 if last else 0) | first | opcode])
    bit = 0x80 if mask else 0
    size = len(payload)
    if size < 126:
        head += bytes([bit | size])
    elif size < 1 << 16:
        head += struct.pack("!BH", bit | 126, size)
    else:
        head += struct.pack("!BQ", bit | 127, size)
    if mask:
        payload = masked(payload, mask)
    return head + mask + payload


def upgrade_bytes(path="/v1/responses", headers=()):
    key = base64.b64encode(os.urandom(16)).decode()
    return request_bytes("GET", path, [
        ("connection", "Upgrade"), ("upgrade", "websocket"), ("sec-websocket-version", "13"),
        ("sec-websocket-key", key), ("openai-beta", "responses_websockets=2026-02-06"), *headers])


class WebSocket(Connection):
    """`status` is 101 when the upgrade was taken; else `refusal` is the answer."""

    def __init__(self, lab, name="alice", headers=(), **options):
        super().__init__(lab, name, **options)
        self.pings = []
        self.close_code = None
        self.refusal = None
        self.send(upgrade_bytes(headers=headers))
        self.status, self.headers = self.head()
        if self.status != 101:
            self.refusal = self.body_after(self.status, self.headers)

    def send_text(self, payload):
        text = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        self.send(masked_frame(TEXT, text))

    def frame(self):
        """(opcode, is it the last of its message, payload)"""
        head = self._file.read(2)
        if len(head) < 2:
            raise ConnectionError("the connection ended without a close frame")
        size = head[1] & 0x7F
        assert not head[1] & 0x80, "a server's frame is masked"
        if size == 126:
            (size,) = struct.unpack("!H", self._file.read(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", self._file.read(8))
        return head[0] & 0x0F, bool(head[0] & 0x80), self._file.read(size)

    def message(self):
        """The next text as JSON, or None after a close frame; pings are answered."""
        parts = b""
        while True:
            opcode, last, payload = self.frame()
            if opcode == CLOSE:
                self.close_code = struct.unpack("!H", payload[:2])[0] if payload else None
                self.send(masked_frame(CLOSE, payload[:2]))
                return None
            if opcode == PING:
                self.pings.append(payload)
                self.send(masked_frame(PONG, payload))
            elif opcode != PONG:
                parts += payload
                if last:
                    return json.loads(parts)

    def events(self):
        """Up to the terminal event, an error, or the connection's end."""
        ends = ("response.completed", "response.failed", "response.incomplete", "error")
        events = []
        while (event := self.message()) is not None:
            events.append(event)
            if event["type"] in ends:
                break
        return events

    def ask(self, text="hello", model="gpt-5.5", **fields):
        """Sends one response.create; `mock` is the scenario, as with body_of."""
        content = [{"type": "input_text", "text": text}]
        message = {"type": "response.create", "model": model,
                   "input": [{"type": "message", "role": "user", "content": content}]}
        mock = fields.pop("mock", None)
        if mock is not None:
            message["metadata"] = {"mock": json.dumps(mock)}
        self.send_text({**message, **fields})
        return self.events()
