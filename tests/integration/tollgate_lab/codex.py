"""The real clients, pinned by ../codex/package-lock.json, installed into a cache of the user's."""

import hashlib
import json
import os
import pathlib
import shutil
import subprocess

PACKAGE = pathlib.Path(__file__).resolve().parents[1] / "codex"
# Versions of Codex: the name that tests know them by → the package that brings `codex`.
VERSIONS = {"new": "@openai/codex", "old": "codex-old"}
COMMANDS = {"new": "codex", "old": "codex-old"}  # in the PATH of a lab's clients
NO_SANDBOX = "--dangerously-bypass-approvals-and-sandbox"  # the lab is the sandbox


def cache_folder():
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    lock = hashlib.sha256((PACKAGE / "package-lock.json").read_bytes()).hexdigest()[:16]
    return cache / "tollgate" / f"codex-{lock}"


def program(folder, version="new"):
    return folder / "node_modules" / VERSIONS[version] / "bin/codex.js"


def codex_folder():
    """Where the pinned clients are installed, or None; TOLLGATE_CODEX names another folder."""
    given = os.environ.get("TOLLGATE_CODEX")
    folder = pathlib.Path(given) if given else cache_folder()
    return folder if program(folder).exists() else None


def install():
    """npm ci of the lock file; nothing to do when it has been done. Returns the folder."""
    folder = cache_folder()
    if codex_folder() is not None:
        return codex_folder()
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = folder.with_suffix(f".{os.getpid()}")
    staging.mkdir()
    try:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(PACKAGE / name, staging / name)
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=staging, check=True)
        staging.replace(folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return folder


# What `codex exec --json` says

def events_of(done):
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def items_of(done, kind):
    return [event["item"] for event in events_of(done)
            if event["type"] == "item.completed" and event["item"]["type"] == kind]


def failures_of(done):
    failed = [event for event in events_of(done) if event["type"] == "turn.failed"]
    return [event["error"]["message"] for event in failed]
