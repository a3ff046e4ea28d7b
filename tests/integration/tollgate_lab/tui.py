"""The interactive client in a terminal of tmux: keys in, what a person sees out."""

import contextlib
import secrets
import shutil
import subprocess
import time

from tollgate_lab.lab import Unavailable
from tollgate_lab.process import wait_until

COLUMNS, ROWS = 120, 50
PROMPT = "› "
SEND_SECONDS, ENTER_SECONDS = 40, 12
START_CHARS = 20  # of a text that surely stand on its first line


class Tui:
    """`with Tui(lab, "alice", "codex", ...) as tui:`; a tmux server of its own, ended with it."""

    def __init__(self, lab, name, *command, folder=None):
        if shutil.which("tmux") is None:
            raise Unavailable("tmux is not installed")
        # Not one that a server before is still about to leave.
        self._socket = str(lab.folder / f"tmux-{secrets.token_hex(3)}.sock")
        self._cwd = folder or lab.home(name) / "work"
        self._env = [f"{key}={value}" for key, value in lab.client_env(name).items()]
        self._command = lab.client_command(name, *command)

    def _tmux(self, *arguments, check=True):
        return subprocess.run(["tmux", "-S", self._socket, "-f", "/dev/null", *arguments],
                              capture_output=True, text=True, check=check).stdout

    def __enter__(self):
        self._tmux("new-session", "-d", "-x", str(COLUMNS), "-y", str(ROWS), "-c", str(self._cwd),
                   "env", "-i", *self._env, *self._command)
        return self

    def __exit__(self, *_):
        self._tmux("kill-server", check=False)

    def screen(self):
        """The lines that have something on them, with what has scrolled away."""
        lines = self._tmux("capture-pane", "-p", "-S", "-", check=False).splitlines()
        return "\n".join(line.rstrip() for line in lines if line.strip())

    def expect(self, words, seconds=30):
        """Waits until the words are there, over the end of a line too."""
        try:
            wait_until(lambda: words in " ".join(self.screen().split()), repr(words), seconds)
        except RuntimeError as error:
            raise AssertionError(f"{error}; the screen:\n{self.screen()}") from None

    def key(self, name):
        self._tmux("send-keys", name)

    def _composer(self):
        """The line that words are written into, or the choice that has taken its place."""
        lines = [line for line in self.screen().splitlines() if line.startswith(PROMPT)]
        return lines[-1].removeprefix(PROMPT) if lines else ""

    def say(self, text):
        # As a paste that says so: keys in a burst are taken for one, with the Enter after them.
        self._tmux("set-buffer", "--", text)
        self._tmux("paste-buffer", "-p")
        start = text[:START_CHARS]
        wait_until(lambda: self._composer().startswith(start), repr(text))
        deadline = time.monotonic() + SEND_SECONDS
        while self._composer().startswith(start):
            # A client that has just started does not take an Enter yet, and does not say so. Two
            # must not reach a busy one: the second would choose from the menu that the first opens.
            assert time.monotonic() < deadline, f"not sent: {text}; the screen:\n{self.screen()}"
            self.key("Enter")
            with contextlib.suppress(RuntimeError):
                wait_until(lambda: not self._composer().startswith(start), "the words to go",
                           ENTER_SECONDS)
