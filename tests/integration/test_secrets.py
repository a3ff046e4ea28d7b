"""The provider's key is in the daemon's memory and on its way to the provider, and nowhere else."""

import os
import pathlib
import re
import subprocess

from tollgate_lab.client import body_of, post
from tollgate_lab.process import cmdline_of, environ_of

ECHO = {"kind": "http_error", "status": 401, "body": '{"error":{"message":"{authorization}"}}'}
PROMPT = "a-prompt-that-nobody-may-keep"


def work(lab):
    for scenario in ({}, ECHO, {"kind": "reset"}):
        try:
            post(lab, body_of(text=PROMPT, mock=scenario))
        except (OSError, ValueError):
            pass


def daemon_pids(lab):
    """The daemon and what it started; nsenter becomes the daemon by exec."""
    task = pathlib.Path(f"/proc/{lab.daemon.pid}/task")
    children = [pid for each in task.iterdir()
                for pid in (each / "children").read_text().split()]
    return [str(lab.daemon.pid), *children]


def test_key_and_prompts_are_in_no_file_of_the_gateway(lab):
    work(lab)
    held = [lab.folder / "tollgated.log", *lab.state.rglob("*"), *lab.run_dir.rglob("*"),
            *lab.home("alice").rglob("*")]
    for path in held:
        if path.is_file():
            raw = path.read_bytes()
            assert lab.key.encode() not in raw, path
            assert PROMPT.encode() not in raw, path


def test_key_is_in_no_environment_or_command_line(lab):
    for pid in daemon_pids(lab):
        assert lab.key.encode() not in environ_of(pid) + cmdline_of(pid)


def test_command_line_tool_never_prints_the_key(lab):
    work(lab)
    for words in (["status"], ["status", "--json"], ["peers"], ["sessions"], ["usage"],
                  ["usage", "records", "--json"], ["explain", "alice@example.com"],
                  ["check", str(lab.config)]):
        done = lab.ctl(*words, check=False)
        assert lab.key not in done.stdout + done.stderr, words


def test_daemon_leaves_no_core_and_cannot_be_traced(lab):
    limits = pathlib.Path(f"/proc/{lab.daemon.pid}/limits").read_text()
    core = re.search(r"Max core file size\s+(\S+)\s+(\S+)", limits).groups()
    assert core == ("0", "0")
    # The files of a process that may not be dumped belong to root, whoever it runs as.
    assert os.stat(f"/proc/{lab.daemon.pid}/environ").st_uid == 0


def test_daemon_runs_without_privileges(lab):
    status = pathlib.Path(f"/proc/{lab.daemon.pid}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert set(fields["Uid"].split()) == {"65534"}
    for capabilities in ("CapPrm", "CapEff", "CapAmb"):
        assert int(fields[capabilities], 16) == 0, capabilities
    assert fields["NoNewPrivs"].strip() == "1"


def test_client_machine_has_no_key(lab):
    command = ["sh", "-c", "env; cat /proc/[0-9]*/environ 2>/dev/null; grep -r . $HOME; true"]
    done = lab.run("alice", *command, text=False)
    assert done.stdout and lab.key.encode() not in done.stdout
    assert b"OPENAI_API_KEY" not in subprocess.run(
        lab.client_command("alice", "env"), env=lab.client_env("alice"), capture_output=True,
        check=True).stdout


def test_key_file_is_not_readable_by_clients(lab):
    done = lab.run("alice", "cat", str(lab.home("alice") / "ca.pem"))
    assert "BEGIN CERTIFICATE" in done.stdout
    mode = lab.key_file.stat().st_mode & 0o777
    assert mode == 0o640


def test_provider_is_out_of_reach_without_the_gateway(lab):
    done = lab.run("alice", "curl", "-sS", "-k", "--max-time", "3", "https://10.98.0.2/v1/models")
    assert done.returncode != 0
