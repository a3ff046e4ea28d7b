"""Each guardrail: the request that passes, its nearest refusal, and exactly which bytes change.

The mock logs the hash of what it got, so a body is right only when each of its bytes is.
"""

import hashlib
import hmac
import json

import pytest

from tollgate_lab.client import body_of, exchange, get, post, request_bytes
from tollgate_lab.config import default_policies

LAB_OPTIONS = {"plain_http": True}
SERVED = "gpt-6-luna"
ALICE = "alice@example.com"
PLACE = "/src/secret-project"
INSTALLATION = "b56cbc67-83bc-4323-aeec-7a4952f08fc7"
INPUT = '"input" : [{"type":"message","role":"user","content":"h\\u00e9, \\"store\\":true"}]'
SEARCH = ',"tools":[{"type":"function","name":"f"}, {"type" : "%s"}]'


def ask(extra="", model="gpt-5.5"):
    """A body as no serializer writes it: what survives byte for byte was not written anew."""
    return f'{{ "model" : "{model}",\n\t"stream":true, {INPUT}{extra} }}\n'


def changed(text, *pieces):
    for old, new in pieces:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def set_guards(lab, **guards):
    lab.change_rules(policies=default_policies(**guards))


def sent_on(lab, text, headers=(), name="alice"):
    """The answer, and what the mock logged of the one request that came out of the gateway."""
    before = len(lab.mock_seen(method="POST"))
    answer = post(lab, text.encode(), name, headers)
    assert answer.status == 200, answer.body
    seen = lab.mock_seen(method="POST")[before:]
    assert len(seen) == 1
    return answer, seen[0]


def assert_sent(lab, text, expected):
    _, seen = sent_on(lab, text)
    assert seen["body_sha256"] == hashlib.sha256(expected.encode()).hexdigest()


def assert_refused(lab, text, code, *words, name="alice"):
    counted = lab.counter("refused", code)
    at_provider = len(lab.mock_seen())
    answer = post(lab, text.encode(), name)
    assert answer.status == (403 if code == "model_denied" else 400)
    for word in words:
        assert word in answer.error["message"]
    assert lab.counter("refused", code) == counted + 1
    assert len(lab.mock_seen()) == at_provider


FIRST = '{ "model"'


def inserted(field):
    """A field that was absent stands first in the object."""
    return (FIRST, "{" + field + ', "model"')


CHANGES = [
    ("alias", {"alias": {"auto": SERVED}}, ask(model="auto"), [('"auto"', f'"{SERVED}"')]),
    ("force_model", {"force_model": SERVED}, ask(model="claude"), [('"claude"', f'"{SERVED}"')]),
    ("effort above the cap", {"reasoning_effort_max": "high"},
     ask(',"reasoning": {"summary":"auto", "effort" : "xhigh"}'), [('"xhigh"', '"high"')]),
    ("no effort, and the default is above the cap", {"reasoning_effort_max": "low"}, ask(),
     [inserted('"reasoning":{"effort":"low"}')]),
    ("no effort in reasoning", {"reasoning_effort_max": "low"},
     ask(',"reasoning": { "summary":"auto"}'), [('{ "summary"', '{"effort":"low", "summary"')]),
    ("output above the cap", {"max_output_tokens": 32000}, ask(', "max_output_tokens" : 32001'),
     [("32001", "32000")]),
    ("no output cap", {"max_output_tokens": 32000}, ask(), [inserted('"max_output_tokens":32000')]),
    ("stored", {"store": "off"}, ask(',"store" : true, "a":1'), [(" true,", " false,")]),
    ("stored by default", {"store": "off"}, ask(), [inserted('"store":false')]),
    ("metadata stripped", {"turn_metadata": "strip"},
     ask(f', "client_metadata" : {{"cwd":"{PLACE}"}} ,"a":1'),
     [(f', "client_metadata" : {{"cwd":"{PLACE}"}}', "")]),
    ("all at once", {"alias": {"auto": SERVED}, "store": "off", "reasoning_effort_max": "low",
                     "turn_metadata": "strip"},
     ask(',"client_metadata":{"a":1},"reasoning":{"effort":"max"}', model="auto"),
     [('"auto"', f'"{SERVED}"'), ('"max"', '"low"'), (',"client_metadata":{"a":1}', ""),
      inserted('"store":false')]),
]


@pytest.mark.parametrize("guards,text,pieces", [pytest.param(*case[1:], id=case[0])
                                                for case in CHANGES])
def test_what_is_outside_is_rewritten_and_no_other_byte(lab, guards, text, pieces):
    set_guards(lab, **guards)
    assert_sent(lab, text, changed(text, *pieces))


WITHIN = [
    ("no guard", {}, ask(',"client_metadata":{"a":1},"store":true,"reasoning":{"effort":"max"}')),
    ("the alias's own model", {"alias": {"auto": SERVED}}, ask(model=SERVED)),
    ("the forced model", {"force_model": SERVED}, ask(model=SERVED)),
    ("effort at the cap", {"reasoning_effort_max": "high"}, ask(',"reasoning":{"effort":"high"}')),
    ("no effort, and the default is the cap", {"reasoning_effort_max": "medium"}, ask()),
    ("output at the cap", {"max_output_tokens": 32000}, ask(',"max_output_tokens":32000')),
    ("input of just that size", {"max_input_bytes": len(ask().encode())}, ask()),
    ("the listed tier", {"service_tiers": ["default"]}, ask(',"service_tier":"default"')),
    ("no tier", {"service_tiers": ["default"]}, ask()),
    ("a tool of the client's", {"hosted_tools": []}, ask(SEARCH % "custom")),
    ("the listed tool with a date", {"hosted_tools": ["web_search"]},
     ask(SEARCH % "web_search_2025_08_26")),
    ("not stored", {"store": "off"}, ask(',"store":false')),
    ("nothing to strip", {"turn_metadata": "strip"}, ask()),
    ("metadata forwarded", {"turn_metadata": "forward"}, ask(',"client_metadata":{"a":1}')),
]


@pytest.mark.parametrize("guards,text", [pytest.param(*case[1:], id=case[0]) for case in WITHIN])
def test_what_is_within_passes_byte_for_byte(lab, guards, text):
    set_guards(lab, **guards)
    assert_sent(lab, text, text)


REFUSALS = [
    ("no alias", {"alias": {"auto": SERVED}}, ask(model="automatic"), "model_denied",
     ["Model automatic is not allowed", "auto,"]),
    ("an effort of tomorrow", {"reasoning_effort_max": "high"},
     ask(',"reasoning":{"effort":"ultra"}'), "feature_denied", ["Reasoning effort ultra", "/model"]),
    ("a byte too large", {"max_input_bytes": len(ask().encode()) - 1}, ask(), "input_over_policy",
     ["input size"]),
    ("Fast", {"service_tiers": ["default"]}, ask(',"service_tier":"priority"'), "feature_denied",
     ["priority", "/fast"]),
    ("a tool that is not listed", {"hosted_tools": ["web_search"]},
     ask(SEARCH % "web_search_preview"), "feature_denied", ["web_search_preview"]),
    ("no tools", {"hosted_tools": []}, ask(SEARCH % "web_search"), "feature_denied",
     ['web_search = "disabled"']),
]


@pytest.mark.parametrize("guards,text,code,words", [pytest.param(*case[1:], id=case[0])
                                                    for case in REFUSALS])
def test_the_nearest_request_outside_is_refused_in_words(lab, guards, text, code, words):
    set_guards(lab, **guards)
    assert_refused(lab, text, code, *words)


def test_a_forced_model_is_forced_for_its_groups_alone(lab):
    set_guards(lab, force_model=SERVED)
    assert_sent(lab, ask(model="claude"), ask(model=SERVED))
    assert_refused(lab, ask(model="claude"), "model_denied", name="bob")


def test_the_served_model_is_metered_and_listed(lab):
    set_guards(lab, alias={"auto": SERVED})
    assert post(lab, body_of(model="auto")).status == 200
    record = max(lab.records(user=ALICE), key=lambda r: r["started_unix_ms"])
    assert (record["model_asked"], record["model_served"]) == ("auto", SERVED)
    names = [model["id"] for model in get(lab, "/v1/models").json()["data"]]
    assert "auto" in names and SERVED in names


@pytest.mark.parametrize("asked,shown", [("auto", "auto"), (SERVED, SERVED), ("gpt-5.5", SERVED)])
def test_the_model_field_names_what_was_asked_for(lab, asked, shown):
    set_guards(lab, alias={"auto": SERVED})
    scenario = json.dumps({"headers": {"openai-model": SERVED}})
    answer, _ = sent_on(lab, ask(model=asked), [("x-mock", scenario)])
    assert answer.headers["openai-model"] == shown


def metadata_text(place=PLACE, installation=INSTALLATION, commit="24bf4dd1"):
    return json.dumps({"installation_id": installation, "session_id": "01a1", "sandbox": "seccomp",
                       "workspaces": {place: {"latest_git_commit_hash": commit,
                                              "has_changes": False}}}, separators=(",", ":"))


def with_metadata(text, installation=INSTALLATION):
    members = {"session_id": "01a1", "x-codex-turn-metadata": text,
               "x-codex-installation-id": installation}
    return ask(',"client_metadata" : ' + json.dumps(members, separators=(",", ":")))


def fields(seen, name):
    return [value for key, value in seen["headers"] if key.lower() == name]


HEADERS = [("x-codex-turn-metadata", metadata_text()), ("x-codex-installation-id", INSTALLATION),
           ("x-codex-window-id", "01a1:0")]


@pytest.mark.parametrize("mode,kept", [("forward", True), ("strip", False)])
def test_the_fields_of_the_head_go_with_those_of_the_body(lab, mode, kept):
    set_guards(lab, turn_metadata=mode)
    _, seen = sent_on(lab, with_metadata(metadata_text()), HEADERS)
    for name, value in HEADERS[:2]:
        assert fields(seen, name) == ([value] if kept else [])
    assert fields(seen, "x-codex-window-id") == ["01a1:0"]


def test_hashed_metadata_says_the_same_place_twice_and_nothing_else(make_lab):
    lab = make_lab(**LAB_OPTIONS)
    set_guards(lab, turn_metadata="hash")
    key = (lab.state / "turn_metadata.key").read_bytes()
    assert (lab.state / "turn_metadata.key").stat().st_mode & 0o077 == 0

    def hashed(text):
        return "hmac-" + hmac.new(key, text.encode(), "sha256").hexdigest()[:32]

    expected = metadata_text(hashed(PLACE), hashed(INSTALLATION), hashed("24bf4dd1"))
    for _ in range(2):
        _, seen = sent_on(lab, with_metadata(metadata_text()), HEADERS)
        body = with_metadata(expected, hashed(INSTALLATION))
        assert seen["body_sha256"] == hashlib.sha256(body.encode()).hexdigest()
        assert fields(seen, "x-codex-turn-metadata") == [expected]
        assert fields(seen, "x-codex-installation-id") == [hashed(INSTALLATION)]
        lab.restart_daemon()  # the same after a restart


def test_explain_tells_each_gate(lab):
    set_guards(lab, alias={"auto": SERVED}, reasoning_effort_max="high", hosted_tools=[],
               max_input_bytes=1000, service_tiers=["default"], store="off",
               turn_metadata="strip", max_output_tokens=32000)
    told = lab.ctl("explain", ALICE, "--model", "auto").stdout
    for words in (f"is an alias of {SERVED}", "becomes high", "any other is refused", "1000 bytes",
                  "other than default", "keep no answer", "not forwarded", "32000"):
        assert words in told, told


def test_codex_is_told_to_do_without_web_search_and_then_can(codex):
    set_guards(codex, hosted_tools=[], turn_metadata="strip", store="off",
               reasoning_effort_max="low")
    done = codex.codex_exec("alice", "hi")
    assert 'web_search = \\"disabled\\"' in done.stdout, done.stdout + done.stderr
    before = len(codex.mock_seen(method="POST"))
    done = codex.codex_exec("alice", "hi", "-c", 'web_search="disabled"')
    assert done.returncode == 0, done.stdout + done.stderr
    seen = codex.mock_seen(method="POST")[before:]
    assert seen and all(fields(s, "x-codex-turn-metadata") == [] for s in seen)


def test_codex_with_an_alias_is_not_told_of_another_model(codex):
    set_guards(codex, force_model=SERVED)
    with codex.mock_answers(headers={"openai-model": SERVED}):
        done = codex.codex_exec("alice", "hi")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "rerouted" not in done.stdout + done.stderr


def test_an_upgrade_is_for_policies_that_allow_it(lab):
    upgrade = request_bytes("GET", "/v1/responses", [
        ("connection", "Upgrade"), ("upgrade", "websocket"), ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")])
    set_guards(lab)
    assert exchange(lab, upgrade).status == 426
    set_guards(lab, websocket=True)
    assert exchange(lab, upgrade, to_head=True).status == 101
    assert exchange(lab, upgrade, "bob").status == 426
