"""The command `lab`: options, and what its verbs do."""

import argparse
import os
import pathlib
import signal
import subprocess
import sys

from tollgate_lab import codex
from tollgate_lab.config import CONTRACTOR_MODEL, DENIED_MODEL, USERS
from tollgate_lab.demo import demo
from tollgate_lab.lab import Lab, Unavailable

EPILOG = """examples:
  lab demo
  lab shell alice --tunnel wireguard
  lab run bob -- codex exec --skip-git-repo-check --model gpt-5.5 hello
"""


def parse(arguments):
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--build", help="folder with tollgated and tollgate "
                        "(default: $TOLLGATE_BUILD, else build/ of this tree)")
    common.add_argument("--tunnel", choices=("veth", "wireguard"), default="veth")
    common.add_argument("--provider-url", help="an outside provider in place of the mock, such as "
                        "https://api.openai.com/v1 or http://127.0.0.1:PORT/v1")
    common.add_argument("--provider-key-file", help="its key (default: $OPENAI_API_KEY)")
    common.add_argument("--workers", type=int, default=2)
    common.add_argument("--io", choices=("io_uring", "poll"), default="io_uring")
    common.add_argument("--steering", choices=("bpf", "userspace"), default="bpf")
    parser = argparse.ArgumentParser(prog="lab", description="A gateway, a provider and clients in "
                                     "network namespaces of this machine.", epilog=EPILOG,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("demo", parents=[common], help="one request that passes, one that does not")
    shell = verbs.add_parser("shell", parents=[common], help="a prompt on a client's machine")
    shell.add_argument("client", choices=USERS)
    run = verbs.add_parser("run", parents=[common], help="run a command on a client's machine")
    run.add_argument("client", choices=USERS)
    run.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND")
    verbs.add_parser("install-codex", help="install the pinned clients and SDKs into the cache")
    return parser.parse_args(arguments)


def provider_key(options):
    if options.provider_key_file:
        return pathlib.Path(options.provider_key_file).read_text(encoding="utf-8").strip()
    key = os.environ.get("OPENAI_API_KEY") if options.provider_url else None
    if options.provider_url and not key:
        raise Unavailable("--provider-url needs --provider-key-file or OPENAI_API_KEY")
    return key


def print_invitation(lab, name):
    admin = f"TOLLGATE_SOCKET={lab.run_dir}/admin.sock {lab.tollgate}"
    print(f"""This is {name}'s machine: one interface, the tunnel; no key. Try:
  codex exec --skip-git-repo-check --model {CONTRACTOR_MODEL} "say hello"
  codex exec --skip-git-repo-check --model {DENIED_MODEL} "say hello"     (bob may not)
  curl -sS {lab.base_url}/models
From another terminal of the host:
  {admin} usage --by user
  {admin} status
Logs and ledger: {lab.folder} (removed when you leave).
""", flush=True)


def act(options):
    if options.verb == "install-codex":
        print(codex.install())
        return 0
    with Lab(build=options.build, tunnel_kind=options.tunnel, provider_url=options.provider_url,
             provider_key=provider_key(options), workers=options.workers, io=options.io,
             steering=options.steering) as lab:
        if options.verb == "demo":
            return 0 if demo(lab) else 1
        command = ["bash", "--norc", "-i"]
        if options.verb == "shell":
            print_invitation(lab, options.client)
        else:
            command = [word for word in options.command if word != "--"] or ["true"]
        return subprocess.run(lab.client_command(options.client, *command),
                              env={**lab.client_env(options.client), "PS1": options.client + "$ "},
                              cwd=lab.home(options.client) / "work", check=False).returncode


def main(arguments=None):
    # A polite end takes the lab down as an interrupt does: through the exceptions' way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return act(parse(arguments))
    except (Unavailable, RuntimeError) as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
