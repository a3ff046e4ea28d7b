"""Clients that never heard of the gateway, and the guard that outlives it."""

import json
import signal
import socket
import ssl

import pytest

from tollgate_lab.client import body_of, post
from tollgate_lab.config import CONTACT
from tollgate_lab.intercept import ADDRESS, FAMILIES, HOST, InterceptLab
from tollgate_lab.lab import Unavailable

REFUSED = {"tcp4": "Connection refused", "udp4": "Connection refused",
           "tcp6": "Connection refused", "udp6": "Connection refused"}
URL = f"https://{HOST}/v1/responses"
BOTH = pytest.mark.parametrize("family", FAMILIES, ids=["IPv4", "IPv6"])


def start(**options):
    try:
        return InterceptLab(**options).__enter__()
    except Unavailable as missing:
        pytest.skip(f"no lab here: {missing}")


@pytest.fixture(scope="module")
def lab():
    made = start()
    yield made
    made.__exit__(None, None, None)


@pytest.fixture
def idle_lab():
    """Its daemon has not been started yet."""
    made = start(daemon=False)
    yield made
    made.__exit__(None, None, None)


def ask(lab, family, *options, name="alice"):
    """Status and body of a plain request to the provider's own name."""
    done = lab.curl(family, "-w", "\n%{http_code}", "-H", "content-type: application/json",
                    "--data-binary", body_of().decode(), *options, URL, name=name)
    assert done.returncode == 0, done.stderr
    body, _, status = done.stdout.rpartition("\n")
    return int(status), body


@BOTH
def test_a_client_of_the_provider_is_intercepted_and_metered(lab, family):
    before = len(lab.records(user="alice@example.com", outcome="completed"))
    at_provider = len(lab.mock_seen(method="POST"))
    arrived = lab.arrived()
    status, body = ask(lab, family)
    assert status == 200 and "response.completed" in body
    records = lab.records(user="alice@example.com", outcome="completed")
    assert len(records) == before + 1 and records[-1]["input_tokens"] == 1000
    assert len(lab.mock_seen(method="POST")) == at_provider + 1
    assert lab.arrived() == arrived, "a packet of a peer itself reached the provider"
    address = ADDRESS[family]
    at = f"[{address}]:443" if family == socket.AF_INET6 else f"{address}:443"
    assert f" via={at}" in lab.daemon.log()


@BOTH
def test_an_unknown_peer_reads_why(lab, family):
    status, body = ask(lab, family, name="mallory")
    assert status == 400 and CONTACT in body


def test_the_gateways_own_name_is_served_as_before(lab):
    assert post(lab, body_of()).status == 200


def test_sessions_show_where_the_client_meant_to_go(lab, eventually):
    gate = lab.gate()
    with lab.mock_answers(gate=gate.name, gate_after=1):
        with lab.tls(socket.AF_INET, HOST) as connection:
            body = body_of()
            connection.sendall(f"POST /v1/responses HTTP/1.1\r\nhost: {HOST}\r\n"
                               f"content-length: {len(body)}\r\n\r\n".encode() + body)
            rows = eventually(lambda: json.loads(lab.ctl("sessions", "--json").stdout))
            assert [row["via"] for row in rows] == [f"{ADDRESS[socket.AF_INET]}:443"]
            gate.open()


@pytest.mark.parametrize("name", ["example.com", None], ids=["another name", "no name"])
@BOTH
def test_another_name_is_refused_in_the_handshake(lab, family, name):
    refused = lab.counter("names_refused")
    with pytest.raises(ssl.SSLError) as alert:
        with lab.tls(family, name):
            pass
    assert "UNRECOGNIZED_NAME" in str(alert.value).upper().replace(" ", "_")
    assert lab.counter("names_refused") == refused + 1


def test_a_request_for_another_host_than_the_handshakes_is_misdirected(lab):
    status, body = ask(lab, socket.AF_INET, "-H", "Host: chat.example.com")
    assert status == 421 and "host_mismatch" in body and "chat.example.com" in body
    assert ask(lab, socket.AF_INET, "-H", f"Host: {HOST.upper()}:443")[0] == 200


def test_what_is_not_https_is_refused_at_once_and_does_not_arrive(lab):
    arrived = lab.arrived()
    heard = lab.knock()
    assert heard == {**REFUSED, "tcp4": "connected", "tcp6": "connected"}
    assert lab.knock(port=80) == REFUSED
    assert lab.arrived() == arrived


def test_the_real_client_is_intercepted(lab):
    if lab.codex is None:
        pytest.skip("the Codex client is not installed: tests/integration/lab install-codex")
    before = len(lab.records(user="alice@example.com", outcome="completed"))
    done = lab.codex_exec("alice", "hello", "-c",
                          f'model_providers.tollgate.base_url="https://{HOST}/v1"')
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(lab.records(user="alice@example.com", outcome="completed")) == before + 1


def test_a_reload_brings_a_new_certificate_for_the_host(lab):
    def shown():
        with lab.tls(socket.AF_INET, HOST) as connection:
            return connection.getpeercert(binary_form=True)

    before = shown()
    lab.issue_intercept_certificate()
    assert shown() == before
    assert lab.reload()
    assert shown() != before
    assert ask(lab, socket.AF_INET)[0] == 200


def test_a_running_daemon_is_not_uninstalled(lab):
    held = lab.kernel_objects()
    with pytest.raises(AssertionError, match="another tollgated"):
        lab.uninstall()
    assert lab.kernel_objects() == held
    assert ask(lab, socket.AF_INET)[0] == 200


def test_what_was_installed_without_a_start_is_removed_whole(idle_lab):
    idle_lab.install()
    assert idle_lab.kernel_objects()
    idle_lab.uninstall()
    assert idle_lab.kernel_objects() == []
    idle_lab.uninstall()


def test_before_the_first_start_the_guard_alone_holds(idle_lab):
    lab = idle_lab
    heard = lab.knock()
    assert (heard["tcp4"], heard["tcp6"]) == ("connected", "connected"), "the mock itself answers"
    control = lab.arrived()
    assert all(control.values()), "control: without our rules everything arrives"
    lab.install()
    installed = lab.kernel_objects()
    lab.install()
    assert lab.kernel_objects() == installed, "installing twice is installing once"
    assert lab.knock() == REFUSED and lab.knock(port=80) == REFUSED
    assert lab.arrived() == control
    lab.start_daemon()
    assert ask(lab, socket.AF_INET)[0] == 200
    assert lab.arrived() == control


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_without_the_daemon_nothing_passes_until_it_is_uninstalled(idle_lab, eventually, number):
    lab = idle_lab
    lab.start_daemon()
    assert ask(lab, socket.AF_INET6)[0] == 200
    arrived = lab.arrived()
    assert not any(arrived.values())
    lab.daemon.signal(number)
    lab.daemon.wait(60)
    # The kernel takes down a killed process's ring, and the listeners in it, a moment later.
    eventually(lab.knock, lambda heard: heard == REFUSED)
    assert lab.knock(port=80) == REFUSED
    assert lab.arrived() == arrived
    lab.start_daemon()
    assert ask(lab, socket.AF_INET)[0] == 200
    lab.daemon.stop(60)
    lab.uninstall()
    assert lab.kernel_objects() == []
    lab.knock()
    assert all(lab.arrived().values()), "control: without our rules everything arrives"


def test_changed_destinations_leave_no_stale_rule(idle_lab):
    lab = idle_lab
    lab.start_daemon()
    lab.daemon.stop(60)
    intercept = lab.rules["intercepts"][0]
    lab.rules["intercepts"] = [{**intercept, "destinations": ["203.0.113.7"]}]
    lab.write_config()
    lab.start_daemon()
    lab.daemon.stop(60)
    rules = [line for line in lab.kernel_objects() if "lookup" in line]
    assert rules and all("to 203.0.113.7 " in rule for rule in rules), rules
    lab.rules["intercepts"] = []
    lab.write_config()
    lab.start_daemon()
    assert not [line for line in lab.kernel_objects() if "29799" in line]
