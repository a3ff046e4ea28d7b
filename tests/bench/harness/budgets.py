"""The cost of admission, durable hold and settlement: variants of our own daemon in one run."""
import argparse
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass

from harness import tollgate
from harness.budget_ledger import fill
from harness.measure import Bench, run_rounds
from harness.peers import Peer
from harness.process import GATEWAY_CPU, BenchError, start, stop
from harness.report import Results, show, spread, table
from harness.scenarios import SCENARIOS
from harness.workplace import SOURCE, Workplace, install_missing

BASELINE_COMMIT = "b86119d"  # the last one that held nothing
BASELINE = "no-holds"
SCENARIO_NAMES = ["lat4k", "req4k", "hsfull"]


@dataclass(frozen=True)
class Variant:
    name: str
    limits: int
    rows: int  # settled requests in the ledger before the start, of the users of the load


VARIANTS = [
    Variant("limits-0", 0, 0),
    Variant("limits-1", 1, 1),
    Variant("limits-100", 100, 1),
    Variant("limits-1-rows-100k", 1, 100_000),
    Variant("limits-100-rows-100k", 100, 100_000),
]


def limit_tables(count):
    """So many limits that bind every request and are never reached; no two have one window."""
    units = ('usd = "1000000.00"', "tokens = 1000000000000", "requests = 1000000000")
    return "".join('\n[[policy.limit]]\nper = "%s"\n%s\nwindow = "%ds"\n' %
                   (("user", "group")[n % 2], units[n % 3], 3600 + 60 * n) for n in range(count))


def daemon_of(variant):
    """The command of a variant: it fills the ledger first, which a start of the daemon has made."""
    def command(place, values):
        words = tollgate.command(place, values, limits=limit_tables(variant.limits))
        if variant.rows:
            log = os.path.join(place.folder, "prefill.log")
            stop(start(words, GATEWAY_CPU, log, values["port"]))
            state = os.path.join(place.folder, values["name"] + "-state")
            users = [tollgate.user_of(a) for a in tollgate.CLIENTS]
            fill(os.path.join(state, "ledger.sqlite"), users, tollgate.MODEL, variant.rows)
        return words
    return command


def peers(baseline):
    def before(place, values):
        return tollgate.command(place, values, daemon=baseline)
    return ([Peer(BASELINE, command=before, ours=True)] +
            [Peer(v.name, command=daemon_of(v), ours=True) for v in VARIANTS])


def build_baseline():
    """tollgated of BASELINE_COMMIT, built once into the cache; returns its path."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = os.path.join(cache, "tollgate", "bench-" + BASELINE_COMMIT)
    daemon = os.path.join(folder, "build", "bin", "tollgated")
    if os.path.exists(daemon):
        return daemon
    print("building the baseline %s into %s" % (BASELINE_COMMIT, folder), flush=True)
    source = os.path.join(folder, "source")
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(source)
    archive = subprocess.run(["git", "-C", SOURCE, "archive", BASELINE_COMMIT], check=True,
                             stdout=subprocess.PIPE).stdout
    subprocess.run(["tar", "-x", "-C", source], input=archive, check=True)
    build = os.path.dirname(os.path.dirname(daemon))
    configure = ["cmake", "-S", source, "-B", build, "-DCMAKE_BUILD_TYPE=RelWithDebInfo"]
    if shutil.which("ccache"):
        configure += ["-DCMAKE_%s_COMPILER_LAUNCHER=ccache" % lang for lang in ("C", "CXX")]
    for command in (configure, ["cmake", "--build", build, "--target", "tollgated"]):
        if subprocess.run(command, stdout=subprocess.DEVNULL).returncode != 0:
            raise BenchError("did not work: %s" % " ".join(command))
    return daemon


def scenario_table(results, name):
    timed = bool(SCENARIOS[name].latency)
    head = ["variant", "CPU ms per request", "ratio"]
    head += ["p50 us", "added", "ratio", "p99 us", "added", "ratio"] if timed else []
    rows = []
    for peer in [BASELINE] + [v.name for v in VARIANTS]:
        row = [peer, spread(results, name, peer, "cpu", 3),
               show(results.ratio(name, peer, BASELINE, "cpu"), 2)]
        for key in ("p50", "p99") if timed else ():
            row += [show(results.median(name, peer, key), 0),
                    show(results.difference(name, peer, BASELINE, key), 0),
                    show(results.ratio(name, peer, BASELINE, key), 2)]
        bad = sum(results.values(name, peer, "bad").values())
        rows.append(row[:1] + [row[1] + (", %d BAD" % bad if bad else "")] + row[2:])
    return table(head, rows)


def parse_arguments():
    ap = argparse.ArgumentParser(prog="tests/bench/budgets", description="What limits cost.")
    ap.add_argument("--rounds", type=int, default=5)
    ap.add_argument("--scen", default=",".join(SCENARIO_NAMES), help="comma-separated")
    ap.add_argument("--build", default=os.path.join(SOURCE, "build-bench"),
                    help="build folder; on a real disk, our ledger is written below it")
    ap.add_argument("--baseline", help="tollgated of before; default: %s, built into the cache" %
                    BASELINE_COMMIT)
    ap.add_argument("--io", default="io_uring", choices=["io_uring", "poll"])
    ap.add_argument("--no-build", action="store_true", help="take what is in --build")
    ap.add_argument("--no-wait", action="store_true", help="do not wait for a quiet machine")
    return ap.parse_args()


def bench(args):
    place = Workplace(args.build)
    install_missing(["openssl"])
    if not args.no_build:
        place.build_tools()
    place.prepare()
    if not place.daemon():
        raise BenchError("tollgated is missing in %s: build it" % place.build)
    baseline = os.path.abspath(args.baseline) if args.baseline else build_baseline()
    names = args.scen.split(",")
    out = os.path.join(place.folder, "budgets.jsonl")
    with Bench(place, args.io) as running:
        lines = run_rounds(running, peers(baseline), names, args.rounds, out, not args.no_wait)
    results = Results(lines)
    print("\n# What limits cost (against %s, medians of %d rounds; ledger on %s)" %
          (BASELINE, args.rounds, place.file_system()))
    for name in names:
        print("\n%s: %s\n\n%s" % (name, SCENARIOS[name].what, scenario_table(results, name)))
    return 0  # a figure is a finding, not an error


def main():
    args = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return bench(args)
    except (BenchError, subprocess.CalledProcessError) as e:
        print("budgets: %s" % e, file=sys.stderr)
        return 1
