"""Who crosses a threshold is told of once: in the log, and at the webhook when there is one."""

import http.server
import json
import ssl
import threading
import time

import pytest

from tollgate_lab import net
from tollgate_lab.client import body_of, post
from tollgate_lab.config import USERS, default_policies, toml_table

ALICE = USERS["alice"]["user"]
SECRET = "T0P5ECRET"
# What one request of the mock costs is a tenth of the limit.
REQUESTS = 10


class Receiver(http.server.ThreadingHTTPServer):
    """Listens on the gateway's loopback and keeps what is posted: (path, header fields, JSON)."""

    daemon_threads = True

    def __init__(self, lab, tls=None):
        super().__init__(("127.0.0.1", 0), Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = net.make_socket(lab.gateway)
        self.server_bind()
        self.server_activate()
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_side=True)
        self.posted = []
        self.silent = False
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.serve_forever)
        self.thread.start()

    def url(self, path=f"/hooks/{SECRET}?token={SECRET}", scheme="http"):
        return f"{scheme}://127.0.0.1:{self.server_port}{path}"

    def handle_error(self, request, client_address):
        pass  # a client that ends the handshake is what a test is about

    def end(self):
        self.ended.set()
        self.shutdown()
        self.thread.join()
        self.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.posted.append((self.path, dict(self.headers), json.loads(body)))
        if self.server.silent:
            self.server.ended.wait(60)
            return
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def receive(lab):
    made = []

    def make(**options):
        made.append(Receiver(lab, **options))
        return made[-1]

    yield make
    for receiver in made:
        receiver.end()


@pytest.fixture(scope="module")
def limit(lab):
    """A limit of ten requests that never refuses, as holds are not what is tested here."""
    assert post(lab, body_of()).status == 200
    (record,) = lab.records(outcome="completed")
    nano = record["cost_nano_usd"] * REQUESTS
    return {"per": "user", "usd": f"{nano // 10**9}.{nano % 10**9:09}", "window": "24h",
            "on_exceed": "warn"}


def configure(lab, limit, **alerts):
    lab.write_config(policies=default_policies(limits=[limit]))
    lab.write_config(text=lab.config.read_text() + "\n" + toml_table("[alerts]", alerts))
    assert lab.reload()


def ask(lab, count):
    for _ in range(count):
        assert post(lab, body_of()).status == 200


def webhook_status(lab):
    return lab.status()["limits"]["webhook"]


def alerts(lab):
    return lab.status()["limits"]["alerts"]


@pytest.fixture(autouse=True)
def nothing_used(lab, limit):
    """Each test begins with nothing used, and with no threshold that this would cross."""
    configure(lab, limit, thresholds=[])
    lab.ctl("reset", ALICE)


def test_crossing_a_threshold_posts_one_alert(lab, limit, receive, eventually):
    receiver = receive()
    configure(lab, limit, thresholds=[75], webhook=receiver.url())
    before, told = webhook_status(lab), alerts(lab)
    assert before["configured"]
    began_s = int(time.time())
    ask(lab, 7)
    assert alerts(lab) == told
    ask(lab, 1)
    assert alerts(lab) == told + 1
    ask(lab, 2)  # further above it, and not told again
    assert alerts(lab) == told + 1
    eventually(lambda: webhook_status(lab), lambda now: now == {**before,
                                                                "sent": before["sent"] + 1})
    ((path, headers, said),) = receiver.posted
    assert path == f"/hooks/{SECRET}?token={SECRET}"
    assert headers["Content-Type"] == "application/json"
    assert headers["User-Agent"].startswith("tollgate/")
    alert = said.pop("alert")
    assert said == {"version": 1}
    assert began_s <= alert.pop("at_unix_s") <= time.time()
    assert alert.pop("limit").startswith(f"user {ALICE}: $")
    used, amount = alert.pop("used"), alert.pop("limit_amount")
    assert used == amount * 8 // REQUESTS and f"{amount / 10**9:.9f}" == limit["usd"]
    assert alert == {"scope": "user", "subject": ALICE, "unit": "usd", "window": "24h",
                     "threshold_percent": 75}


def test_reload_changes_thresholds_and_address(lab, limit, receive, eventually):
    first, second = receive(), receive()
    configure(lab, limit, thresholds=[20], webhook=first.url())
    ask(lab, 2)
    eventually(lambda: len(first.posted), lambda count: count == 1)
    configure(lab, limit, thresholds=[20, 40], webhook=second.url())
    ask(lab, 2)
    eventually(lambda: len(second.posted), lambda count: count == 1)
    assert second.posted[0][2]["alert"]["threshold_percent"] == 40
    assert len(first.posted) == 1


def test_without_an_address_the_log_alone_tells(lab, limit, eventually):
    configure(lab, limit, thresholds=[10])
    before = webhook_status(lab)
    assert not before["configured"]
    lines = lab.daemon.log().count("alert threshold=10%")
    ask(lab, 1)
    eventually(lambda: lab.daemon.log().count("alert threshold=10%"), lambda n: n == lines + 1)
    assert webhook_status(lab) == before


def test_certificate_that_nobody_vouches_for_gets_nothing(lab, limit, receive, eventually):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*lab.client_authority.issue("webhook-tls", ["IP:127.0.0.1"]))
    receiver = receive(tls=context)
    configure(lab, limit, thresholds=[10], webhook=receiver.url(scheme="https"))
    failed = webhook_status(lab)["failed"]
    ask(lab, 1)
    eventually(lambda: webhook_status(lab)["failed"], lambda count: count == failed + 1)
    assert receiver.posted == []
    assert "alert webhook 127.0.0.1: SSL peer certificate" in lab.daemon.log()


def test_path_is_told_to_nobody(lab, limit, eventually):
    with net.make_socket(lab.gateway) as unused:
        unused.bind(("127.0.0.1", 0))  # and does not listen
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/{SECRET}"
        configure(lab, limit, thresholds=[10], webhook=url)
        failed = webhook_status(lab)["failed"]
        ask(lab, 1)
        eventually(lambda: webhook_status(lab)["failed"], lambda count: count == failed + 1)
    assert "alert webhook 127.0.0.1: " in lab.daemon.log()
    assert SECRET not in lab.daemon.log()
    for words in (["status"], ["status", "--json"], ["limits"], ["check", str(lab.config)]):
        done = lab.ctl(*words, check=False)
        assert SECRET not in done.stdout + done.stderr, words


def test_silent_receiver_does_not_hold_up_the_end(lab, limit, receive, eventually):
    receiver = receive()
    receiver.silent = True
    configure(lab, limit, thresholds=[10], webhook=receiver.url())
    ask(lab, 1)
    eventually(lambda: len(receiver.posted), lambda count: count == 1)
    began = time.monotonic()
    lab.daemon.stop(60)
    assert time.monotonic() - began < 5  # a try may take 10 s
    assert "alert webhook 127.0.0.1: 1 alerts unsent" in lab.daemon.log()
    assert lab.daemon.process.returncode == 0
    lab.start_daemon()
