"""Who is asking: the tunnel says it, never the client."""

import pytest

from tollgate_lab import net
from tollgate_lab.client import Connection, body_of, get, post, request_bytes
from tollgate_lab.config import CONTACT, CONTRACTOR_MODEL, DENIED_MODEL

CREDENTIALS = [
    ("Authorization", "Bearer client-secret-1"),
    ("Cookie", "session=client-secret-2"),
    ("api-key", "client-secret-3"),
    ("OpenAI-Organization", "org-client-secret-4"),
    ("OpenAI-Project", "proj-client-secret-5"),
    ("X-Forwarded-For", "10.99.0.2"),
    ("X-Forwarded-User", "alice@example.com"),
    ("Forwarded", "for=10.99.0.2"),
    ("X-Real-IP", "10.99.0.2"),
]


def test_client_credentials_and_identity_headers_do_not_reach_the_provider(lab):
    assert post(lab, body_of(), headers=CREDENTIALS).status == 200
    sent = lab.mock_seen()[-1]["headers"]
    assert "client-secret" not in str(sent)
    names = [name.lower() for name, _ in sent]
    for name in ("cookie", "api-key", "openai-organization", "openai-project", "x-forwarded-for",
                 "x-forwarded-user", "forwarded", "x-real-ip"):
        assert name not in names
    assert [v for n, v in sent if n.lower() == "authorization"] == [f"Bearer {lab.key}"]


def test_connection_header_cannot_strip_the_injected_key(lab):
    headers = [("Connection", "authorization"), ("Authorization", "Bearer mine")]
    assert post(lab, body_of(), headers=headers).status == 200
    assert lab.mock_seen()[-1]["authorized"]


def test_identity_headers_change_nothing_about_what_is_allowed(lab):
    answer = post(lab, body_of(model=DENIED_MODEL), "bob", CREDENTIALS)
    assert (answer.status, answer.error["code"]) == (403, "model_not_found")
    assert post(lab, body_of(model=CONTRACTOR_MODEL), "bob", CREDENTIALS).status == 200
    assert lab.records(user="bob@example.com", outcome="completed")


@pytest.mark.parametrize("raw", [
    pytest.param(request_bytes(body=body_of()), id="small"),
    pytest.param(request_bytes(body=body_of(text="x" * 3_000_000)), id="body of 3 MB"),
])
def test_unknown_peer_gets_a_sentence_and_an_orderly_end(lab, raw):
    refused = lab.counter("refused", "peer_unknown")
    at_provider = len(lab.mock_seen())
    with Connection(lab, "mallory") as connection:
        connection.send(raw)
        answer = connection.response()
    assert (answer.status, answer.error["code"]) == (400, "invalid_prompt")
    assert "10.99.0.66" in answer.error["message"] and CONTACT in answer.error["message"]
    assert lab.counter("refused", "peer_unknown") == refused + 1
    assert len(lab.mock_seen()) == at_provider


def test_another_clients_address_over_ones_own_interface_is_nobodys(lab):
    """Mallory takes Alice's address, and even the gateway's route leads to Mallory."""
    namespace, device = lab.clients["mallory"], lab.tunnel_of["mallory"]
    net.add_address(namespace, "tun0", "10.99.0.2/32")
    net.add_route(lab.gateway, "10.99.0.2/32", device, "10.99.0.1")
    try:
        answer = post(lab, body_of(), "mallory", source="10.99.0.2")
        assert (answer.status, answer.error["code"]) == (400, "invalid_prompt")
    finally:
        net.add_route(lab.gateway, "10.99.0.2/32", lab.tunnel_of["alice"], "10.99.0.1")
        net.run("ip", "-n", namespace, "address", "delete", "10.99.0.2/32", "dev", "tun0")
    assert post(lab, body_of()).status == 200


def test_models_list_is_what_the_user_may(lab):
    def names(who):
        return {model["id"] for model in get(lab, "/v1/models", who).json()["data"]}

    assert names("bob") == {CONTRACTOR_MODEL}
    assert {CONTRACTOR_MODEL, DENIED_MODEL} <= names("alice")


def test_ipv6_has_the_same_identity(lab):
    import socket
    before = len(lab.records(user="alice@example.com"))
    assert post(lab, body_of(), family=socket.AF_INET6).status == 200
    assert len(lab.records(user="alice@example.com")) == before + 1
