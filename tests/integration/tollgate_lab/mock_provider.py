#!/usr/bin/python3
"""A provider that speaks the API of the real one and can misbehave on purpose.

HTTP/1.1 and WebSocket over TLS (or plain, without --cert). What to answer is a scenario, see
scenario.py. Every exchange is appended to --log as one JSON line; tests take their truth from
there, not from what the gateway says about itself.
"""

import argparse
import asyncio
import contextlib
import json
import os
import secrets
import signal
import ssl
import sys
import time

if __package__ in (None, ""):
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from tollgate_lab.mock_http import Wire, read_head  # noqa: E402
from tollgate_lab.mock_requests import HttpExchange  # noqa: E402
from tollgate_lab.scenario import Chooser  # noqa: E402

HEAD_BYTES_MAX = 1 << 20


class Mock:
    def __init__(self, key, log_path, control_path):
        self.key = key
        self.chooser = Chooser()
        self.stored = {}  # id → response object, as `store` has it at the real one
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
        wire = Wire(self._connections, reader, writer)
        try:
            while await HttpExchange(self, wire, await read_head(wire)).run():
                pass
        except (asyncio.IncompleteReadError, ConnectionResetError):
            pass  # it ended before a whole head had come
        except (ConnectionError, ssl.SSLError, asyncio.LimitOverrunError, ValueError) as error:
            self.write_log({"time": time.time(), "connection": wire.number, "bad": repr(error)})
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
