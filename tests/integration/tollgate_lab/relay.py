#!/usr/bin/python3
"""A TCP relay between two network namespaces: for a provider outside the lab.

Listens on 127.0.0.1 of --namespace and connects from the namespace in which it was started. Bytes
pass as they are; TLS is between the daemon and the provider.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import socket
import sys

if __package__ in (None, ""):
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from tollgate_lab import net  # noqa: E402

CHUNK = 64 * 1024


async def pump(reader, writer):
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


async def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--namespace", required=True)
    parser.add_argument("--listen-port", type=int, required=True)
    parser.add_argument("--target", required=True, metavar="HOST:PORT")
    arguments = parser.parse_args()
    host, _, port = arguments.target.rpartition(":")

    async def serve(reader, writer):
        try:
            upstream = await asyncio.open_connection(host.strip("[]"), int(port))
        except OSError as error:
            print(f"connect {arguments.target}: {error}", file=sys.stderr, flush=True)
            writer.close()
            return
        await asyncio.gather(pump(reader, upstream[1]), pump(upstream[0], writer))
        for end in (writer, upstream[1]):
            end.close()

    listener = net.make_socket(arguments.namespace)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", arguments.listen_port))
    server = await asyncio.start_server(serve, sock=listener)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with server:
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(main())
