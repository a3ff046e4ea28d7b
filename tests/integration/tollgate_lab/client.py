"""A small HTTP client that can also send what no client should: bytes go out as they are given."""

import asyncio
import json
import ssl

from tollgate_lab.config import GATEWAY

TERMINAL = ("response.completed", "response.failed", "response.incomplete")


class Response:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers  # lower-case name → last value
        self.body = body

    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        return self.json()["error"]

    def events(self):
        return parse_events(self.body)


def parse_events(raw):
    """Payloads of an SSE body, each with its type."""
    events = []
    for block in raw.decode("utf-8").replace("\r\n", "\n").split("\n\n"):
        data = [line[5:].lstrip() for line in block.split("\n") if line.startswith("data:")]
        if data:
            events.append(json.loads("\n".join(data)))
    return events


def body_of(model="gpt-5.5", stream=True, text="hello", **fields):
    content = [{"type": "input_text", "text": text}]
    body = {"model": model, "stream": stream,
            "input": [{"type": "message", "role": "user", "content": content}]}
    metadata = fields.pop("mock", None)
    if metadata is not None:
        body["metadata"] = {"mock": json.dumps(metadata)}
    return json.dumps({**body, **fields}).encode()


def request_bytes(method="POST", path="/v1/responses", headers=(), body=b"", length=True):
    lines = [f"{method} {path} HTTP/1.1", f"host: {GATEWAY}"]
    if length and (body or method == "POST"):
        lines += ["content-type: application/json", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


def context_of(lab):
    if lab.settings["plain_http"]:
        return None
    context = ssl.create_default_context(cafile=str(lab.home("alice") / "ca.pem"))
    context.set_alpn_protocols(["http/1.1"])
    return context


class Connection:
    """One connection of a client; blocking."""

    def __init__(self, lab, name="alice", **options):
        self.socket = lab.connect(name, **options)
        context = context_of(lab)
        if context:
            self.socket = context.wrap_socket(self.socket, server_hostname=GATEWAY)
        self._file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._file.close()
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def at_end(self):
        """True when the other side ended the connection in order."""
        return self._file.read(1) == b""

    def head(self):
        line = self._file.readline()
        if not line:
            raise ConnectionError("the connection ended before an answer")
        status = int(line.split()[1])
        headers = {}
        while (line := self._file.readline().strip()):
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        return status, headers

    def chunks(self, strict=False):
        """`strict`: raises when the stream ends without its last chunk."""
        while True:
            line = self._file.readline()
            if strict and not line:
                raise ConnectionError("the stream ended without its last chunk")
            size = int(line.split(b";")[0] or b"0", 16)
            if size == 0:
                break
            yield self._file.read(size)
            self._file.readline()
        self._file.readline()

    def response(self, to_head=False):
        status, headers = self.head()
        while status == 100:
            status, headers = self.head()
        return Response(status, headers, b"") if to_head else self.body_after(status, headers)

    def body_after(self, status, headers):
        if status in (204, 304):
            body = b""
        elif headers.get("transfer-encoding", "").lower() == "chunked":
            body = b"".join(self.chunks())
        elif "content-length" in headers:
            body = self._file.read(int(headers["content-length"]))
        else:
            body = self._file.read()
        return Response(status, headers, body)


def exchange(lab, raw, name="alice", to_head=False, **options):
    """Sends bytes on a new connection and reads one answer."""
    with Connection(lab, name, **options) as connection:
        connection.send(raw)
        return connection.response(to_head=to_head)


def post(lab, body, name="alice", headers=(), path="/v1/responses", **options):
    return exchange(lab, request_bytes(path=path, headers=headers, body=body), name, **options)


def get(lab, path, name="alice", headers=()):
    return exchange(lab, request_bytes("GET", path, headers), name)


class AsyncStream:
    """One streamed request on a connection of its own; many run at once on one loop."""

    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer
        self.status = 0
        self.headers = {}
        self._rest = b""

    @classmethod
    async def open(cls, lab, body, name="alice", headers=()):
        loop = asyncio.get_running_loop()
        sock = await loop.run_in_executor(None, lab.connect, name)
        sock.setblocking(False)
        context = context_of(lab)
        tls = {"ssl": context, "server_hostname": GATEWAY} if context else {}
        reader, writer = await asyncio.open_connection(sock=sock, limit=64 << 20, **tls)
        stream = cls(reader, writer)
        writer.write(request_bytes(headers=headers, body=body))
        await writer.drain()
        return stream

    async def head(self):
        raw = await self.reader.readuntil(b"\r\n\r\n")
        lines = raw.decode("latin-1").split("\r\n")
        self.status = int(lines[0].split()[1])
        for line in lines[1:]:
            name, _, value = line.partition(":")
            self.headers[name.lower()] = value.strip()
        return self.status

    async def body(self):
        return await self.reader.readexactly(int(self.headers.get("content-length", "0")))

    async def events(self):
        """Payloads as they come; ends with the stream."""
        while True:
            size = int((await self.reader.readuntil(b"\r\n")).split(b";")[0], 16)
            self._rest += (await self.reader.readexactly(size + 2))[:-2]
            while b"\n\n" in self._rest:
                block, self._rest = self._rest.split(b"\n\n", 1)
                for event in parse_events(block):
                    yield event
            if size == 0:
                return

    def abort(self):
        self.writer.transport.abort()

    def close(self):
        self.writer.close()


async def run_stream(lab, body, name="alice"):
    """(status, types of the events, response id) of one whole stream."""
    stream = await AsyncStream.open(lab, body, name)
    kinds, response_id = [], ""
    try:
        if await stream.head() != 200:
            return stream.status, [json.loads(await stream.body())["error"]["code"]], ""
        async for event in stream.events():
            kinds.append(event["type"])
            if event["type"] in TERMINAL:
                response_id = event["response"]["id"]
        return stream.status, kinds, response_id
    except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
        return stream.status, kinds, response_id
    finally:
        stream.close()
