"""HTTP/1.1 as the mock provider speaks it: bytes of a connection in and out, heads and bodies."""

import socket
import struct

REASONS = {101: "Switching Protocols", 200: "OK", 400: "Bad Request", 401: "Unauthorized",
           404: "Not Found"}


def error_body(message, **fields):
    return {"error": {"message": message, "type": "invalid_request_error", "code": None, **fields}}


class Wire:
    """One connection; `received` counts what has come on it so far."""

    def __init__(self, number, reader, writer):
        self.number = number
        self.received = 0
        self._reader = reader
        self._writer = writer

    def _count(self, data):
        self.received += len(data)
        return data

    async def read_until(self, end):
        return self._count(await self._reader.readuntil(end))

    async def read_exactly(self, size):
        return self._count(await self._reader.readexactly(size))

    async def read_some(self):
        """Nothing when the other side has ended."""
        return self._count(await self._reader.read(1 << 16))

    async def write(self, data, split=None):
        """In pieces of `split` bytes, each of them flushed; "bytes": one by one."""
        step = 1 if split == "bytes" else split or max(len(data), 1)
        for at in range(0, len(data), step):
            self._writer.write(data[at:at + step])
            await self._writer.drain()

    def reset(self):
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


class Request:
    def __init__(self, method, target, headers):
        self.method = method
        self.target = target
        self.path = target.partition("?")[0]
        self.headers = headers  # [(name as sent, value)]
        self.body = b""

    def all(self, name):
        return [value for key, value in self.headers if key.lower() == name]

    def get(self, name, default=""):
        return (self.all(name) or [default])[0]


async def read_head(wire):
    raw = await wire.read_until(b"\r\n\r\n")
    lines = raw[:-4].decode("latin-1").split("\r\n")
    method, target, _ = lines[0].split(" ", 2)
    headers = []
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers.append((name, value.strip()))
    return Request(method, target, headers)


async def read_body(wire, request):
    if "chunked" in request.get("transfer-encoding").lower():
        body = b""
        while True:
            size = int((await wire.read_until(b"\r\n")).split(b";")[0], 16)
            body += (await wire.read_exactly(size + 2))[:-2]
            if size == 0:
                return body
    return await wire.read_exactly(int(request.get("content-length", "0")))


def head_bytes(status, fields):
    lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Status')}"]
    lines += [f"{name}: {value}" for name, value in fields]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
