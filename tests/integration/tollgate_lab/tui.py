"""The interactive client in a terminal of tmux: keys in, what a person sees out."""

import secrets
import shutil
import subprocess

from tollgate_lab.lab import Unavailable
from tollgate_lab.process import wait_until

COLUMNS, ROWS = 120, 50


class Tui:
    """`with Tui(lab, "alice", "codex", ...) as tui:`; a tmux server of its own, ended with it."""

    def __init__(self, lab, name, *command):
        if shutil.which("tmux") is None:
            raise Unavailable("tmux is not installed")
        # Not one that a server before is still about to leave.
        self._socket = str(lab.folder / f"tmux-{secrets.token_hex(3)}.sock")
        self._cwd = lab.home(name) / "work"
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

    def say(self, text):
        # Enter in the same burst would be taken for a part of a paste.
        self._tmux("send-keys", "-l", text)
        self.expect(text)
        self._tmux("send-keys", "Enter")
