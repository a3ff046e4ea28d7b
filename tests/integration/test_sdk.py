"""Other clients than Codex: OpenAI's SDKs, the Codex SDK, curl; and the README's word on them."""

import json
import pathlib
import re
import subprocess

import pytest

from tollgate_lab.client import body_of, post
from tollgate_lab.config import CONTACT, CONTRACTOR_MODEL, DENIED_MODEL, USERS, default_policies
from tollgate_lab.lab import HERE, REPOSITORY

MODEL = "gpt-5.5"
SCRIPTS = HERE.parent / "clients"
BOB = USERS["bob"]["user"]
CONTRACTOR_TOKENS = 100_000
EMBEDDER = "text-embedding-3-small"
LAB_OPTIONS = {"limits": {"abort_drain_ms": 500},
               "policies": default_policies(("gpt-5*", EMBEDDER))}
HELLO = "Hello from the mock provider."
README_URL = "https://ai.example.internal/v1"


def openai(lab, *asks, name="alice"):
    """What each of the (step, given) came to; one process, whose start takes longest."""
    done = lab.run_node(name, SCRIPTS / "openai_sdk.mjs", json.dumps(asks))
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def record_of(lab, response_id):
    (record,) = lab.records(response_id=response_id)
    return record


def test_answers_streams_and_tool_loops_are_read_and_metered(codex):
    whole, streamed, tools = openai(
        codex, ("respond", {"model": MODEL, "mock": {"usage": {"input_tokens": 321}}}),
        ("stream", {"model": MODEL, "mock": {"events": 50}}), ("tools", {"model": MODEL}))
    assert whole["text"] == HELLO
    assert record_of(codex, whole["id"])["input_tokens"] == 321
    assert streamed["text"] == streamed["whole"] and streamed["text"].startswith("w0 ")
    assert (tools["output"], tools["text"]) == ("rain in Oslo", "Take an umbrella.")
    for each in (whole["id"], streamed["id"], *tools["ids"]):
        record = record_of(codex, each)
        assert (record["outcome"], record["estimated"]) == ("completed", False)


def test_aborted_stream_is_settled(codex, eventually):
    before = {record["id"] for record in codex.records()}
    (got,) = openai(codex, ("abort", {"model": MODEL, "mock": {"events": 2000, "pace_ms": 10}}))
    assert got["events"] == 3
    (record,) = eventually(lambda: [r for r in codex.records() if r["id"] not in before])
    assert (record["outcome"], record["estimated"]) == ("client_abort", True)


def refused_by_provider(status):
    return {"model": MODEL, "mock": {"kind": "http_error", "status": status}}


# description → who, what is asked for, and the error that the SDK makes of the answer
REFUSALS = {
    "denied model": ("bob", {"model": DENIED_MODEL}, "PermissionDeniedError", 403, CONTACT),
    "unpriced model": ("alice", {"model": "gpt-5-unheard-of"}, "BadRequestError", 400, "price"),
    "unknown peer": ("mallory", {"model": MODEL}, "BadRequestError", 400, CONTACT),
    "provider's 400": ("alice", refused_by_provider(400), "BadRequestError", 400, "on purpose"),
    "provider's 429": ("alice", refused_by_provider(429), "RateLimitError", 429, "on purpose"),
    "provider's 500": ("alice", refused_by_provider(500), "InternalServerError", 500, "on purpose"),
    "provider's 403": ("alice", refused_by_provider(403), "InternalServerError", 503, CONTACT),
}


@pytest.mark.parametrize("name", ["alice", "bob", "mallory"])
def test_refusals_are_the_errors_that_the_sdk_has_for_them(codex, name):
    cases = {key: case for key, case in REFUSALS.items() if case[0] == name}
    told = openai(codex, *(("respond", case[1]) for case in cases.values()), name=name)
    for (description, (_, _, kind, status, words)), got in zip(cases.items(), told):
        assert (got["error"], got["status"]) == (kind, status), description
        assert words in got["message"], description


def test_used_up_limit_is_a_rate_limit_error(codex):
    policies = default_policies(("gpt-5*", EMBEDDER))
    policies[1]["limits"] = [{"per": "user", "tokens": CONTRACTOR_TOKENS, "window": "24h"}]
    codex.change_rules(policies=policies)
    try:
        usage = {"input_tokens": CONTRACTOR_TOKENS, "output_tokens": 0}
        assert post(codex, body_of(CONTRACTOR_MODEL, mock={"usage": usage}), "bob").status == 200
        (got,) = openai(codex, ("respond", {"model": CONTRACTOR_MODEL}), name="bob")
    finally:
        codex.change_rules(policies=LAB_OPTIONS["policies"])
    assert (got["error"], got["status"]) == ("RateLimitError", 429)
    assert got["type"] == "usage_limit_reached" and CONTACT in got["message"]


def test_models_are_listed(codex):
    (got,) = openai(codex, ("models", {}), name="bob")
    assert CONTRACTOR_MODEL in got["ids"]


def test_chat_streams_are_metered_and_show_usage_to_who_asks(codex):
    cases = {"not said": None, "asked for": {"include_usage": True},
             "declined": {"include_usage": False}}
    mock = {"usage": {"input_tokens": 77, "output_tokens": 5}}
    told = openai(codex, *(("chat", {"model": MODEL, "options": options, "mock": mock})
                           for options in cases.values()))
    for description, got in zip(cases, told):
        assert got["text"] == HELLO, description
        assert (got["usage"] is not None) == (description == "asked for"), description
        record = record_of(codex, got["id"])
        assert (record["input_tokens"], record["output_tokens"], record["outcome"]) == (
            77, 5, "completed"), description


@pytest.fixture
def priced_embedder(codex):
    """The prices that we ship are those of the models that Codex uses."""
    prices = json.loads((REPOSITORY / "deploy/prices.json").read_text(encoding="utf-8"))
    prices["models"].append({
        "model": EMBEDDER, "source": "https://prices.test", "date": "2026-01-01",
        "context_tokens": 8000, "max_output_tokens": 1,
        "tiers": {"default": {"input": "0.02", "cached_input": "0.02", "output": "0.02"}}})
    file = codex.folder / "prices.json"
    file.write_text(json.dumps(prices), encoding="utf-8")
    codex.gateway_settings["price_file"] = str(file)
    codex.change_rules()


def test_embeddings_are_metered(codex, priced_embedder):
    before = {record["id"] for record in codex.records()}
    (got,) = openai(codex, ("embed", {"model": EMBEDDER}))
    assert got["vectors"] == [[0.25, -0.5, 0.125]] * 2
    (record,) = [r for r in codex.records() if r["id"] not in before]
    assert (record["input_tokens"], record["outcome"]) == (8, "completed")


def codex_sdk(lab, options=None):
    done = lab.run_node("alice", SCRIPTS / "codex_sdk.mjs", json.dumps(options or {}))
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_codex_sdk_runs_a_thread(codex):
    before = {record["id"] for record in codex.records()}
    got = codex_sdk(codex)
    assert [turn["text"] for turn in got["turns"]] == [HELLO, HELLO]
    records = [r for r in codex.records() if r["id"] not in before]
    assert [record["session_id"] for record in records] == [got["thread"]] * 2


def test_codex_sdk_with_a_base_url_uses_its_built_in_provider(codex):
    """It tries WebSocket before it asks, and shows a key, which goes no further."""
    asked = len(codex.mock_seen(method="POST"))
    got = codex_sdk(codex, {"baseUrl": codex.base_url, "apiKey": "sk-nobodys",
                            "config": {"model_provider": "openai"}})
    assert [turn["text"] for turn in got["turns"]] == [HELLO, HELLO]
    seen = codex.mock_seen(method="POST")[asked:]
    assert len(seen) == 2 and all(each["authorized"] for each in seen)
    assert "sk-nobodys" not in json.dumps(seen)


# The snippets of the README, as they stand there

def snippets():
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    section = text.partition("## Other clients\n")[2].partition("\n## ")[0]
    return re.findall(r"^```(\w+)\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)


def run_snippet(lab, language, text):
    assert README_URL in text or "config.toml" in text, text
    text = text.replace(README_URL, lab.base_url)
    if language == "sh":
        return lab.run("alice", "sh", "-c", text)
    path = pathlib.Path(lab.folder) / f"snippet.{'mjs' if language == 'js' else 'py'}"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o644)
    if language == "js":
        return lab.run_node("alice", path)
    if subprocess.run(["/usr/bin/python3", "-c", "import openai"], capture_output=True,
                      check=False).returncode:
        pytest.skip("Python's openai is not installed, and Debian has no package of it")
    return lab.run("alice", "/usr/bin/python3", str(path))


@pytest.mark.parametrize("language,text", [
    pytest.param(language, text, id=f"{number} {language}")
    for number, (language, text) in enumerate(snippets())])
def test_snippet_of_the_readme_works(codex, language, text):
    done = run_snippet(codex, language, text)
    assert done.returncode == 0, done.stdout + done.stderr
    assert HELLO in done.stdout


def test_readme_has_a_snippet_for_each_of_them():
    assert [language for language, _ in snippets()] == ["sh", "js", "python", "js"]
