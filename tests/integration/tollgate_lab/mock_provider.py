#!/usr/bin/python3
"""A provider that speaks the Responses API and can misbehave on purpose.

HTTP/1.1 over TLS (or plain, without --cert). What to answer is a scenario, see scenario.py. Every
exchange is appended to --log as one JSON line; tests take their truth from there, not from what
the gateway says about itself.
"""

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
import secrets
import signal
import socket
import ssl
import struct
import sys
import time

if __package__ in (None, ""):
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from tollgate_lab import scenario as scenarios  # noqa: E402
from tollgate_lab.gate import Gate  # noqa: E402

HEAD_BYTES_MAX = 1 << 20
LINGER_S = 5
MODELS = ["gpt-5.5", "gpt-5.6-luna", "gpt-6-luna"]
REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found"}


class Request:
    def __init__(self, method, target, headers):
        self.method = method
        self.target = target
        self.headers = headers  # [(name as sent, value)]
        self.body = b""

    def all(self, name):
        return [value for key, value in self.headers if key.lower() == name]

    def get(self, name, default=""):
        return (self.all(name) or [default])[0]


async def read_head(reader):
    """None when the connection ends, or is reset, before a whole head has come."""
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionResetError):
        return None
    lines = raw[:-4].decode("latin-1").split("\r\n")
    method, target, _ = lines[0].split(" ", 2)
    headers = []
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers.append((name, value.strip()))
    return Request(method, target, headers)


async def read_body(reader, request):
    if "chunked" in request.get("transfer-encoding").lower():
        body = b""
        while True:
            size = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
            body += (await reader.readexactly(size + 2))[:-2]
            if size == 0:
                return body
    return await reader.readexactly(int(request.get("content-length", "0")))


class Exchange:
    """One request and its answer on one connection; `record` becomes a line of the log."""

    def __init__(self, mock, connection_id, reader, writer, request):
        self.mock = mock
        self.reader = reader
        self.writer = writer
        self.request = request
        self.keep = request.get("connection").lower() != "close"
        self.record = {
            "time": time.time(),
            "connection": connection_id,
            "method": request.method,
            "path": request.target,
            "headers": request.headers,
            "ended": "cut",
        }

    async def run(self):
        try:
            await self._answer()
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError) as error:
            self.record["ended"] = f"client_gone: {type(error).__name__}"
            self.keep = False
        finally:
            self.mock.write_log(self.record)
        return self.keep

    async def _answer(self):
        header = self.request.get("x-mock")
        early = json.loads(header) if header else self.mock.control()
        if early.get("early"):
            self.record["early"] = True
            self.keep = False
            await self._http_error(early)
            return await self._linger()
        self.request.body = await read_body(self.reader, self.request)
        self.record["body_bytes"] = len(self.request.body)
        self.record["body_sha256"] = hashlib.sha256(self.request.body).hexdigest()
        self.record["authorized"] = self._authorized()
        if not self.record["authorized"]:
            shown = ", ".join(self.request.all("authorization"))
            return await self._json(401, error_body(f"Incorrect API key provided: {shown}."))
        path = self.request.target.partition("?")[0]
        if (self.request.method, path) == ("GET", "/v1/models"):
            data = [{"id": name, "object": "model"} for name in MODELS]
            return await self._json(200, {"object": "list", "data": data})
        if path != "/v1/responses" or self.request.method not in ("POST", "HEAD"):
            return await self._json(404, error_body(f"Unknown path {path}"))
        if self.request.method == "HEAD":
            return await self._head_only()
        body = json.loads(self.request.body)
        chosen = scenarios.choose(header, body, self.mock.control())
        self.record["scenario"] = chosen
        self.record["model"] = body.get("model")
        return await self._respond(chosen, body)

    async def _linger(self):
        # As real servers do: closing over unread bytes would reset the connection, and the reset
        # overtakes the answer.
        with contextlib.suppress(asyncio.TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while await self.reader.read(1 << 16):
                    pass

    def _authorized(self):
        key = self.mock.key
        return key is None or self.request.all("authorization") == [f"Bearer {key}"]

    async def _respond(self, chosen, body):
        self.keep = self.keep and not chosen.get("close")
        if chosen.get("kind") == "http_error":
            return await self._http_error(chosen)
        answer = scenarios.Answer(chosen, body, self.mock.next_number())
        self.record["response_id"] = answer.id
        await self._pass_gate(chosen)
        self.record["tier"] = answer.tier
        if not body.get("stream"):
            output = [answer.message("".join(answer.text()), "completed")]
            self.record["usage"] = answer.usage
            return await self._json(200, answer.final_response(output))
        return await self._stream(chosen, answer)

    async def _stream(self, chosen, answer):
        head = ["HTTP/1.1 200 OK", "Content-Type: text/event-stream", "Transfer-Encoding: chunked",
                f"x-request-id: req_{answer.id}"]
        head += [f"{name}: {value}" for name, value in chosen.get("headers", {}).items()]
        if chosen.get("header_bytes"):
            head.append("x-mock-large: " + "h" * chosen["header_bytes"])
        head += [f"x-mock-{n}: v" for n in range(chosen.get("header_count", 0))]
        await self._write(("\r\n".join(head) + "\r\n\r\n").encode())
        await self._pass_gate(chosen, 0)
        kind = chosen.get("kind", "text")
        breaks = kind in ("reset", "stall", "no_terminal")
        sent = 0
        for name, payload in answer.events():
            terminal = name in ("response.completed", "response.failed", "response.incomplete")
            if breaks and (terminal or sent >= chosen.get("after", 3)):
                return await self._break(kind)
            if terminal:
                self.record["usage"] = answer.usage
            await self._chunk(scenarios.encode_event(name, payload), chosen.get("split"))
            sent += 1
            self.record["events"] = sent
            if chosen.get("pace_ms"):
                await asyncio.sleep(chosen["pace_ms"] / 1000)
            await self._pass_gate(chosen, sent)
        await self._write(b"0\r\n\r\n")
        self.record["ended"] = "complete"

    async def _pass_gate(self, chosen, sent=None):
        if "gate" in chosen and chosen.get("gate_after") == sent:
            await Gate(self.mock.folder, chosen["gate"]).passed()

    async def _break(self, kind):
        self.record["ended"] = kind
        self.keep = False
        if kind == "stall":
            # Nothing more is said; the other end decides how long it waits.
            await self.reader.read(1)
        elif kind == "reset":
            sock = self.writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.writer.transport.abort()
        else:
            await self._write(b"0\r\n\r\n")

    async def _http_error(self, chosen):
        status = chosen.get("status", 400)
        body = chosen.get("body", error_body("The mock refused on purpose."))
        if isinstance(body, str):
            body = body.replace("{authorization}", self.request.get("authorization"))
        await self._json(status, body)

    async def _head_only(self):
        await self._write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        self.record["ended"] = "complete"

    async def _json(self, status, body):
        raw = (body if isinstance(body, str) else json.dumps(body)).encode()
        reason = REASONS.get(status, "Status")
        connection = "keep-alive" if self.keep else "close"
        head = (f"HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(raw)}\r\nConnection: {connection}\r\n\r\n")
        self.record["status"] = status
        await self._write(head.encode() + raw)
        self.record["ended"] = "complete"

    async def _chunk(self, data, split):
        step = 1 if split == "bytes" else split or len(data)
        for at in range(0, len(data), step):
            piece = data[at:at + step]
            await self._write(b"%x\r\n%s\r\n" % (len(piece), piece))

    async def _write(self, data):
        self.writer.write(data)
        await self.writer.drain()


def error_body(message):
    return {"error": {"message": message, "type": "invalid_request_error", "code": None}}


class Mock:
    def __init__(self, key, log_path, control_path):
        self.key = key
        self._log = open(log_path, "a", buffering=1, encoding="utf-8")
        self._control_path = control_path
        self.folder = os.path.dirname(log_path)
        self._connections = 0
        self._answers = 0
        self._run = secrets.token_hex(3)  # a mock that was restarted repeats no response's id

    def next_number(self):
        self._answers += 1
        return f"{self._run}_{self._answers}"

    def control(self):
        """The scenario for requests that name none; read anew each time, so tests just write it."""
        if not self._control_path:
            return {}
        try:
            with open(self._control_path, encoding="utf-8") as file:
                return json.load(file)
        except FileNotFoundError:
            return {}

    def write_log(self, record):
        self._log.write(json.dumps(record) + "\n")

    async def serve(self, reader, writer):
        self._connections += 1
        connection_id = self._connections
        try:
            while True:
                request = await read_head(reader)
                if request is None:
                    break
                exchange = Exchange(self, connection_id, reader, writer, request)
                if not await exchange.run():
                    break
        except (ConnectionError, ssl.SSLError, asyncio.LimitOverrunError, ValueError) as error:
            self.write_log({"time": time.time(), "connection": connection_id, "bad": repr(error)})
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError, OSError):
                await writer.wait_closed()


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--listen", action="append", required=True, metavar="HOST:PORT")
    parser.add_argument("--cert", help="PEM chain; without it the mock speaks plain HTTP")
    parser.add_argument("--private-key")
    parser.add_argument("--api-key-file", help="the one key that is let in; without it all are")
    parser.add_argument("--log", required=True)
    parser.add_argument("--control", help="JSON scenario for requests that name none")
    return parser.parse_args()


async def main():
    arguments = parse_arguments()
    context = None
    if arguments.cert:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(arguments.cert, arguments.private_key)
    key = None
    if arguments.api_key_file:
        with open(arguments.api_key_file, encoding="utf-8") as file:
            key = file.read().strip()
    mock = Mock(key, arguments.log, arguments.control)
    for listen in arguments.listen:
        host, _, port = listen.rpartition(":")
        await asyncio.start_server(mock.serve, host.strip("[]"), int(port), ssl=context,
                                   limit=HEAD_BYTES_MAX, backlog=1024)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    print("mock provider ready", flush=True)
    await stop.wait()


if __name__ == "__main__":
    asyncio.run(main())
