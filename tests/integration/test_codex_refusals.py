"""What the real client shows of our refusals, by version and transport: one sentence, at once, and
nothing at the provider. The older one shows the JSON around it where the status is 400."""

import re

import pytest

from tollgate_lab.client import body_of, post
from tollgate_lab.codex import failures_of
from tollgate_lab.codex_client import POLICIES, VERSIONS_AND_MODES, CodexClient
from tollgate_lab.config import CONTACT, CONTRACTOR_MODEL, DENIED_MODEL, USERS

ALICE = USERS["alice"]["user"]
TOKENS = 10_000_000
LAB_OPTIONS = {"policies": [{**POLICIES[0], "limits": [
    {"per": "user", "tokens": TOKENS, "window": "24h"}]}, {**POLICIES[1], "websocket": True}]}


@pytest.fixture(params=VERSIONS_AND_MODES, ids="-".join)
def version_and_mode(request):
    return request.param


def said_once(client, done):
    assert done.returncode != 0
    (said,) = failures_of(done)
    if client.version == "new":
        assert "unexpected status" not in said and "{" not in said
    assert client.seen() == []
    return said


def test_denied_model(codex, version_and_mode):
    client = CodexClient(codex, *version_and_mode, name="bob")
    said = said_once(client, client.exec("hi", "--model", DENIED_MODEL))
    assert DENIED_MODEL in said and CONTRACTOR_MODEL in said and CONTACT in said
    # Over WebSocket the newer one warms up first; the older asks six times after a 403 by HTTP.
    refused = len(client.records(refusal_code="model_denied"))
    assert refused == 1 or refused <= (2 if client.mode != "http" else 6), refused
    assert refused == 1 or (client.version, client.mode) != ("new", "http")


def test_unknown_peer(codex, version_and_mode):
    client = CodexClient(codex, *version_and_mode, name="mallory")
    said = said_once(client, client.exec("hi"))
    assert "10.99.0.66" in said and CONTACT in said


def test_used_up_limit(codex, version_and_mode):
    codex.ctl("reset", ALICE)
    usage = {"input_tokens": TOKENS - 50, "output_tokens": 50}
    assert post(codex, body_of(mock={"usage": usage})).status == 200
    client = CodexClient(codex, *version_and_mode)
    try:
        said = said_once(client, client.exec("hi"))
    finally:
        codex.ctl("reset", ALICE)
    assert re.fullmatch(r"You.ve hit your usage limit\. .*You have used .*"
                        + re.escape(CONTACT) + r", or try again at .+\d\d.*\.", said), said
