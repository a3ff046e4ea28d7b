"""What the quick start shows: a request that passes, one that is refused, and what was recorded."""

import json

from tollgate_lab.config import CONTRACTOR_MODEL, DENIED_MODEL

PROMPT = "Say hello in five words."


def _text_of(line):
    """What a line of `codex exec --json` says to a person, or None."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    if event.get("type") == "item.completed":
        return event["item"].get("text")
    if event.get("type") == "turn.failed":
        return event["error"]["message"]
    return None


def _ask_with_codex(lab, name, model):
    done = lab.codex_exec(name, PROMPT, "--model", model)
    texts = [text for text in map(_text_of, done.stdout.splitlines()) if text]
    return texts[-1] if texts else (done.stderr.strip() or done.stdout.strip())


def _ask_with_curl(lab, name, model):
    body = json.dumps({"model": model, "input": PROMPT, "stream": False})
    done = lab.run(name, "curl", "-sS", "-H", "content-type: application/json", "--data", body,
                   lab.base_url + "/responses")
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        return done.stderr.strip() or done.stdout.strip()
    if answer.get("error"):
        return answer["error"]["message"]
    items = [item for item in answer["output"] if item.get("type") == "message"]
    return items[-1]["content"][0]["text"] if items else answer.get("status", "")


def demo(lab):
    """Prints as it goes; true when the one request passed and the other did not."""
    ask, client = (_ask_with_codex, "codex exec") if lab.codex else (_ask_with_curl, "curl")
    where = lab.provider_url or "a mock provider inside the lab (no key needed)"
    print(f"\nTollgate runs in a network namespace of its own. Provider: {where}.")
    print("Developers below reach it over a tunnel; none of them has a key.\n")
    for name, model in (("alice", CONTRACTOR_MODEL), ("bob", DENIED_MODEL)):
        print(f"{name}$ {client} --model {model} '{PROMPT}'")
        print(f"  {ask(lab, name, model)}\n", flush=True)
    print("What was recorded (tollgate usage --by user):\n")
    print(lab.ctl("usage", "--by", "user", check=False).stdout)
    print(f"Why bob was refused (tollgate explain bob@example.com --model {DENIED_MODEL}):\n")
    print(lab.ctl("explain", "bob@example.com", "--model", DENIED_MODEL, check=False).stdout)
    return _as_expected(lab)


def _as_expected(lab):
    passed = [r for r in lab.records(user="alice@example.com") if r["outcome"] == "completed"]
    refused = lab.counter("refused", "model_denied")
    if not passed:
        print("The allowed request did not complete; the daemon said:\n" + lab.daemon.log()[-2000:])
    if not refused:
        print("The denied request was not refused.")
    return bool(passed and refused)
