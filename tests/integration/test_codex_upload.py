"""What a session of nine requests uploads from the developer's machine, by transport.

Codex sends the whole conversation with each request by HTTP, and only what is new by WebSocket; a
provider without WebSocket is sent the whole by the gateway, which has kept it.
"""

import pytest

from tollgate_lab.codex_client import MODES, POLICIES, CodexClient

LAB_OPTIONS = {"policies": POLICIES}
REQUESTS = 9
# A tool whose output is worth something: 20 KB a turn.
TOOL = {"kind": "tool", "calls": [{"name": "exec_command",
                                   "arguments": {"cmd": "seq 1 4000"}}]}
SCRIPT = [TOOL] * (REQUESTS - 1) + [{"kind": "text"}]


@pytest.fixture(scope="module")
def uploads(lab):
    """Mode → (bytes from the client, bytes to the provider), of bodies and messages."""
    if lab.codex is None:
        pytest.skip("the Codex client is not installed: tests/integration/lab install-codex")
    sums = {}
    for mode in MODES:
        client = CodexClient(lab, "new", mode)
        known = {record["id"] for record in lab.records()}
        done = client.exec("go", mock={"script": SCRIPT})
        assert done.returncode == 0, done.stdout + done.stderr
        assert len(client.seen()) == REQUESTS
        up = sum(r["bytes_up"] for r in lab.records() if r["id"] not in known)
        sums[mode] = up, sum(seen["body_bytes"] for seen in client.seen())
    return sums


def test_uploaded_bytes_are_told_and_websocket_saves_most(uploads, capsys):
    with capsys.disabled():
        print(f"\nuploaded in a session of {REQUESTS} requests:")
        for mode, (from_client, to_provider) in uploads.items():
            print(f"  {mode:18} {from_client:>9} B from the client {to_provider:>9} B to the provider")
    http, websocket = uploads["http"][0], uploads["websocket"][0]
    assert websocket < http / 2


def test_bridge_keeps_the_clients_saving_and_tells_the_provider_everything(uploads):
    through, bridged, http = (uploads[mode] for mode in ("websocket-through", "websocket", "http"))
    assert bridged[0] == pytest.approx(through[0], rel=0.1)
    assert bridged[1] == pytest.approx(http[1], rel=0.1)
