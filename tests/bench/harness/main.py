"""The command line, and the order in which things happen."""
import argparse
import os
import platform
import signal
import sys

from harness.measure import Bench, run_rounds
from harness.peers import PEERS
from harness.process import BenchError
from harness.report import markdown
from harness.scenarios import SCENARIOS
from harness.self_check import self_check
from harness.workplace import SOURCE, Workplace, install_missing, version_of


def parse_arguments():
    ap = argparse.ArgumentParser(prog="tests/bench/run",
                                 description="Compares the gateway with nginx, "
                                 "HAProxy and a bare relay on this machine.")
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--scen", help="comma-separated; default all: " + ",".join(SCENARIOS))
    ap.add_argument("--peers", help="comma-separated; known: " + ",".join(PEERS))
    ap.add_argument("--build", default=os.path.join(SOURCE, "build-bench"),
                    help="build folder; on a real disk, our ledger is written below it")
    ap.add_argument("--daemon", help="tollgated to measure; default: the one in --build")
    ap.add_argument("--io", default="io_uring", choices=["io_uring", "poll"],
                    help="our daemon's event loop")
    ap.add_argument("--no-build", action="store_true", help="take what is in --build")
    ap.add_argument("--no-wait", action="store_true", help="do not wait for a quiet machine")
    ap.add_argument("--self-check", action="store_true",
                    help="only show that the load generator notices wrong answers")
    return ap.parse_args()


def chosen(text, known, what):
    names = text.split(",") if text else list(known)
    for name in names:
        if name not in known:
            raise BenchError("no %s %s; known: %s" % (what, name, ", ".join(known)))
    return names


def header(place):
    kind = place.file_system()
    lines = ["# Bench", "",
             "- machine: %s, %d CPUs, kernel %s" % (platform.machine(), os.cpu_count(),
                                                    platform.release()),
             "- nginx: %s" % version_of("nginx"), "- haproxy: %s" % version_of("haproxy"),
             "- our ledger is on: %s%s" % (kind, " (memory, not a disk: durability costs nothing "
                                           "here, so our figures flatter us)"
                                           if kind in ("tmpfs", "ramfs") else "")]
    if os.cpu_count() < 2:
        lines.append("- one CPU only: gateway and load share it; wall-clock figures mean little")
    return "\n".join(lines)


def bench(args):
    place = Workplace(args.build, args.daemon)
    scenarios = chosen(args.scen, SCENARIOS, "scenario")
    defaults = [n for n, p in PEERS.items() if p.by_default]
    peers = [PEERS[n] for n in (chosen(args.peers, PEERS, "peer") if args.peers else defaults)]
    needs = [] if args.self_check else sorted({n for p in peers for n in p.needs})
    install_missing(["openssl"] + needs)
    if not args.no_build:
        place.build_tools()
    place.prepare()
    if args.self_check:
        return 1 if self_check(place) else 0
    if any(p.ours for p in peers) and not place.daemon():
        print("tollgated is missing in %s: our own rows are left out (build it, or name it with "
              "--daemon)" % place.build, flush=True)
        peers = [p for p in peers if not p.ours]
    if not peers:
        return 0
    out = os.path.join(place.folder, "results.jsonl")
    with Bench(place, args.io) as running:
        lines = run_rounds(running, peers, scenarios, args.rounds, out, not args.no_wait)
    print("\n%s\n- every run: %s\n\n%s" % (header(place), out, markdown(lines)))
    return 0  # a missed target is a finding, not an error


def main():
    args = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    try:
        return bench(args)
    except BenchError as e:
        print("bench: %s" % e, file=sys.stderr)
        return 1
