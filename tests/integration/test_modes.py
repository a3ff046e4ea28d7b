"""The ways in which the gateway can run when something of the full set is missing or not wanted."""

import pytest

from tollgate_lab.client import body_of, post
from tollgate_lab.config import DENIED_MODEL

MODES = [
    pytest.param({"steering": "userspace"}, id="identity in userspace"),
    pytest.param({"io": "poll"}, id="poll in place of io_uring"),
    pytest.param({"steering": "userspace", "io": "poll"}, id="both"),
    pytest.param({"plain_http": True}, id="plain http on the tunnel"),
    pytest.param({"workers": 1}, id="one worker"),
    pytest.param({"tunnel_kind": "wireguard"}, id="wireguard"),
]


@pytest.mark.parametrize("options", MODES)
def test_text_turn_and_refusals(make_lab, options):
    lab = make_lab(**options)
    answer = post(lab, body_of(mock={"events": 50}))
    assert answer.status == 200 and answer.events()[-1]["type"] == "response.completed"
    assert post(lab, body_of(DENIED_MODEL), "bob").status == 403
    assert post(lab, body_of(), "mallory").error["code"] == "invalid_prompt"
    completed = lab.records(outcome="completed")
    assert [r["user"] for r in completed] == ["alice@example.com"]
    assert completed[0]["input_tokens"] == 1000


def test_codex_over_wireguard(make_lab):
    lab = make_lab(tunnel_kind="wireguard")
    if lab.codex is None:
        pytest.skip("the Codex client is not installed: tests/integration/lab install-codex")
    done = lab.codex_exec("alice", "hello")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(lab.records(outcome="completed")) == 1


def test_status_says_which_way_it_runs(make_lab):
    lab = make_lab(steering="userspace", io="poll")
    said = str(lab.status())
    assert "userspace" in said and "poll" in said
