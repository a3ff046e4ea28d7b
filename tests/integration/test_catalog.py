"""GET /v1/models: what each person may use, in the shape of who asks; and the real client with it."""

import hashlib
import json
import threading

import pytest

from tollgate_lab.catalog import catalog_entry, catalog_text
from tollgate_lab.client import body_of, exchange, get, post, request_bytes
from tollgate_lab.config import CONTRACTOR_MODEL, DENIED_MODEL, codex_config, default_policies

CODEX = "/v1/models?client_version=0.169.0"
UNPRICED = "gpt-daybreak-blue-latest"


ENTRIES = {slug: catalog_entry(slug, priority) for priority, slug in
           enumerate(["gpt-6-sol", CONTRACTOR_MODEL, UNPRICED, DENIED_MODEL])}


def catalog_of(*slugs):
    return catalog_text(ENTRIES[slug] for slug in slugs)


@pytest.fixture(scope="module", autouse=True)
def catalog(lab):
    """The lab's gateway with a catalogue; the file, to be changed."""
    path = lab.folder / "models.json"
    path.write_text(catalog_of(*ENTRIES))
    lab.gateway_settings["model_catalog"] = str(path)
    lab.change_rules()
    return path


def listed(answer):
    return [model["slug"] for model in answer.json()["models"]]


def test_each_sees_what_they_may_use_as_the_file_has_it(lab):
    alice, bob = get(lab, CODEX), get(lab, CODEX, "bob")
    assert listed(alice) == ["gpt-6-sol", CONTRACTOR_MODEL, DENIED_MODEL]
    assert bob.body.decode() == '{"models":[' + ENTRIES[CONTRACTOR_MODEL] + "]}"
    assert alice.headers["etag"] != bob.headers["etag"]
    assert get(lab, CODEX, "mallory").status == 400


def test_what_the_client_has_is_not_sent_again(lab, catalog):
    first = get(lab, CODEX)

    def again():
        return exchange(lab, request_bytes("GET", CODEX, [("if-none-match",
                                                           first.headers["etag"])]))
    same = again()
    assert (same.status, same.body) == (304, b"")
    assert "content-length" not in same.headers and same.headers["etag"] == first.headers["etag"]
    catalog.write_text(catalog_of(DENIED_MODEL, "gpt-6-sol"))
    try:
        assert lab.reload()
        changed = again()
        assert changed.status == 200 and listed(changed) == [DENIED_MODEL, "gpt-6-sol"]
    finally:
        catalog.write_text(catalog_of(*ENTRIES))
        assert lab.reload()
    assert again().status == 304


def test_others_get_openais_shapes(lab):
    names = [model["id"] for model in get(lab, "/v1/models", "bob").json()["data"]]
    assert names == [CONTRACTOR_MODEL]
    one = get(lab, f"/v1/models/{CONTRACTOR_MODEL}", "bob")
    assert (one.status, one.json()["object"], one.json()["id"]) == (200, "model", CONTRACTOR_MODEL)
    none = get(lab, f"/v1/models/{DENIED_MODEL}", "bob")
    assert (none.status, none.error["code"]) == (404, "model_not_found")
    assert DENIED_MODEL in none.error["message"] and CONTRACTOR_MODEL in none.error["message"]
    assert get(lab, "/v1/models/").error["code"] == "endpoint_unknown"


def test_answers_name_the_tag_of_the_catalogue(lab):
    etag = get(lab, CODEX).headers["etag"]
    assert post(lab, body_of()).headers["x-models-etag"] == etag
    refused = post(lab, body_of(model=DENIED_MODEL), "bob")
    assert refused.headers["x-models-etag"] == get(lab, CODEX, "bob").headers["etag"]


def test_alias_is_shown_as_a_copy_of_what_serves_it(lab):
    lab.change_rules(policies=default_policies(["gpt-6-sol"], alias={"auto": "gpt-6-sol"}))
    try:
        models = get(lab, CODEX).json()["models"]
        assert [model["slug"] for model in models] == ["gpt-6-sol", "auto"]
        assert models[1] == {**models[0], "slug": "auto", "display_name": "auto"}
        assert get(lab, "/v1/models/auto").json()["id"] == "auto"
        assert post(lab, body_of(model="auto")).status == 200
        assert lab.mock_seen(method="POST")[-1]["model"] == "gpt-6-sol"
    finally:
        lab.change_rules(policies=None)


@pytest.mark.parametrize("text, says", [
    ("{", "read model catalogue"),
    ('{"models":[{"slug":"a"},{"slug":"a"}]}', '"a" is there twice'),
    ('{"object":"list","data":[]}', "codex debug models"),
])
def test_broken_file_keeps_the_last_good_one(lab, catalog, text, says):
    before = hashlib.sha256(get(lab, CODEX).body).digest()
    catalog.write_text(text)
    try:
        done = lab.ctl("reload", check=False)
        assert done.returncode != 0 and says in done.stdout + done.stderr
    finally:
        catalog.write_text(catalog_of(*ENTRIES))
    assert hashlib.sha256(get(lab, CODEX).body).digest() == before
    assert lab.reload()


def client_with_catalogue(lab, name):
    """Keyless, and the client asks for the catalogue: it needs a token that means nothing."""
    text = codex_config(lab.base_url).replace('model = "gpt-5.5"\n', "").replace(
        'wire_api = "responses"\n', 'wire_api = "responses"\nexperimental_bearer_token = "keyless"\n'
        f'model_catalog_url = "{lab.base_url}/models"\n')
    (lab.home(name) / ".codex/config.toml").write_text(text)


@pytest.mark.parametrize("who", ["alice", "bob"])
def test_real_client_shows_and_uses_the_filtered_list(codex, who):
    client_with_catalogue(codex, who)
    done = codex.run(who, "codex", "debug", "models")
    assert done.returncode == 0, done.stderr
    names = [model["slug"] for model in json.loads(done.stdout)["models"]]
    assert names == listed(get(codex, CODEX, who))
    asked = f'user={who}@example.com peer='
    assert any(asked in line and 'endpoint="GET /v1/models" status=200' in line
               for line in codex.daemon.log().splitlines())
    # No model is named: the client takes its default from the list.
    done = codex.codex_exec(who, "hi")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "metadata" not in done.stdout
    assert codex.mock_seen(method="POST")[-1]["model"] == names[0]


def test_real_client_asks_again_when_what_it_may_use_has_changed(codex, eventually):
    """The administrator takes a model away during a turn: the next answer's head says so."""
    client_with_catalogue(codex, "alice")

    def asked():
        return sum("user=alice@example.com" in line and 'endpoint="GET /v1/models"' in line
                   for line in codex.daemon.log().splitlines())

    before = asked()
    assert codex.codex_exec("alice", "hi").returncode == 0
    assert asked() == before + 1
    gate = codex.gate()
    prompt = 'go mock:{"kind":"tool","cmd":"true","gate":"%s"}' % gate.name
    done = []
    turn = threading.Thread(target=lambda: done.append(codex.codex_exec("alice", prompt)))
    turn.start()
    try:
        eventually(gate.waiting)
        codex.change_rules(policies=default_policies(["gpt-6*"]))
    finally:
        gate.open()
        turn.join()
        codex.change_rules(policies=None)
    assert done[0].returncode == 0, done[0].stdout
    assert asked() == before + 3
