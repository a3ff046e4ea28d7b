"""A pinned version of the real client in one mode, and what it brought about since it was made."""

import contextlib
import json

from tollgate_lab.codex import COMMANDS, NO_SANDBOX
from tollgate_lab.config import default_policies
from tollgate_lab.tui import Tui

# HTTP; WebSocket to the gateway alone; WebSocket all the way to the provider.
MODES = ("http", "websocket", "websocket-through")
POLICIES = default_policies(websocket=True)
VERSIONS_AND_MODES = [(version, mode) for version in COMMANDS for mode in MODES]
MODEL = "gpt-5.5"
# As someone has it who has said no to other models.
SETTLED = ("--model", MODEL, "-c", f'notice.model_migrations={{"{MODEL}"="gpt-6-sol"}}',
           "-c", "notice.hide_rate_limit_model_nudge=true")
# On the screen when the client takes words; the old one says "loading" for the model before.
READY = {"new": "Ask Codex to do anything", "old": f"model: {MODEL}"}


class CodexClient:
    def __init__(self, lab, version, mode, name="alice"):
        self.lab = lab
        self.version = version
        self.mode = mode
        self.name = name
        self.command = COMMANDS[version]
        self.options = [] if mode == "http" else [
            "-c", "model_providers.tollgate.supports_websockets=true"]
        lab.change_provider(websocket=mode == "websocket-through")
        self._seen = len(lab.mock_seen())
        self._records = {record["id"] for record in lab.records()}

    def exec(self, prompt, *options, mock=None, timeout=180):
        words = f"{prompt} mock:{json.dumps(mock)}" if mock else prompt
        return self.lab.codex_exec(self.name, words, NO_SANDBOX, *self.options, *options,
                                   program=self.command, timeout=timeout)

    @contextlib.contextmanager
    def terminal(self, folder=None):
        """The interactive client, ready for words."""
        folder = folder or self.lab.home(self.name) / "work"
        trust = f'projects={{ "{folder}" = {{ trust_level = "trusted" }} }}'
        with Tui(self.lab, self.name, self.command, *SETTLED, *self.options, "-c", trust,
                 folder=folder) as tui:
            tui.expect(READY[self.version])
            yield tui

    def seen(self, **fields):
        """What asked the provider for an answer, over either transport; prewarming asks nothing."""
        news = self.lab.mock_seen()[self._seen:]
        asked = [r for r in news if r.get("path") == "/v1/responses" and "scenario" in r
                 and r.get("generate", True)]
        return [r for r in asked if all(r.get(k) == v for k, v in fields.items())]

    def records(self, **fields):
        """Without those of warming up, over WebSocket: they cost nothing, here or there."""
        news = [r for r in self.lab.records(**fields) if r["id"] not in self._records]
        return [r for r in news if self.mode == "http" or r["outcome"] != "completed"
                or r["input_tokens"] + r["output_tokens"] > 0]
