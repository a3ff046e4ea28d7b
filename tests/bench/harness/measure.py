"""One run: the mock, one gateway, one load; and the rounds over all of them."""
import json
import os
import shlex
import subprocess
import time

from harness.peers import KEY
from harness.process import (GATEWAY_CPU, LOAD_CPU, BenchError, free_port, pin_and_lead, start,
                             stop, wait_until_quiet)
from harness.scenarios import SCENARIOS

RUN_SECONDS_MAX = 60


class Bench:
    """Holds both mocks while it is entered."""

    def __init__(self, place, io="io_uring"):
        self.place = place
        self.io = io
        self.mocks = {}  # by "does it speak TLS": (process, port)

    def __enter__(self):
        try:
            for tls in (False, True):
                port = free_port()
                command = [self.place.tool("bench_mock"), "--listen", "127.0.0.1:%d" % port,
                           "--key", KEY]
                if tls:
                    command += ["--certificate", self.place.certificate, "--private-key",
                                self.place.private_key]
                self.mocks[tls] = (start(command, LOAD_CPU, self._log("mock"), port), port)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process, _ in self.mocks.values():
            stop(process)

    def _log(self, name):
        return os.path.join(self.place.folder, name + ".log")

    def start_gateway(self, peer):
        """Returns (process, port). No gateway: the mock itself."""
        upstream = self.mocks[peer.upstream_tls][1]
        if peer.command is None:
            return None, upstream
        port = free_port()
        values = dict(name=peer.name, dir=self.place.folder, port=port, upstream=upstream, key=KEY,
                      upstream_tls=peer.upstream_tls, certificate=self.place.certificate,
                      private_key=self.place.private_key, both=self.place.both, io=self.io)
        process = start(peer.command(self.place, values), GATEWAY_CPU, self._log(peer.name), port)
        time.sleep(0.3)
        return process, port

    def load(self, peer, process, port, body, args):
        """The load generator's line, and its exit code."""
        command = [self.place.tool("bench_loadgen"), "--target", "127.0.0.1:%d" % port, "--tls",
                   "--label", peer.name, "--body", self.place.body(body),
                   "--watch", "mock=%s" % ",".join(str(m.pid) for m, _ in self.mocks.values())]
        if process:
            command += ["--watch", "gateway=%d" % process.pid]
        if peer.sends_key:
            command += ["--token", KEY]
        r = subprocess.run(command + shlex.split(args), stdout=subprocess.PIPE, text=True,
                           timeout=RUN_SECONDS_MAX, preexec_fn=pin_and_lead(LOAD_CPU))
        if r.returncode not in (0, 1) or not r.stdout:
            raise BenchError("the load generator ended with %d" % r.returncode)
        return json.loads(r.stdout.strip().split("\n")[-1]), r.returncode

    def measure(self, peer, name, wait):
        """Starts the gateway afresh, so that no scenario inherits another's memory."""
        scenario = SCENARIOS[name]
        process = None
        try:
            process, port = self.start_gateway(peer)
            before = wait_until_quiet() if wait else 0
            line, _ = self.load(peer, process, port, scenario.body, scenario.args)
        finally:
            stop(process)
        watched = line["watched"]
        ours = line["loadgen_cpu_s"] + sum(w["cpu_s"] for w in watched.values())
        cores = min(2, os.cpu_count())
        line.update(scenario=name, peer=peer.name, busy_before=round(before, 2),
                    foreign=round(max(0, line["machine_busy_s"] - ours) / cores / line["secs"], 3))
        return line


def run_rounds(bench, peers, names, rounds, out, wait):
    """Every scenario's peers stand next to each other in time, and every second round goes
    backwards, so that slow drift of the machine falls on all alike."""
    lines = []
    with open(out, "w") as f:
        for number in range(rounds):
            for name in names:
                for peer in peers if number % 2 == 0 else peers[::-1]:
                    try:
                        line = bench.measure(peer, name, wait)
                    except (BenchError, subprocess.TimeoutExpired) as e:
                        print("round %d %s %s: %s" % (number + 1, name, peer.name, e), flush=True)
                        continue
                    line["round"] = number
                    lines.append(line)
                    f.write(json.dumps(line) + "\n")
                    f.flush()
                    gateway = line["watched"].get("gateway", {}).get("cpu_s", 0)
                    print("round %d %-11s %-17s %8.0f req/s %9.0f ev/s  cpu %.2f s  foreign %.2f"
                          "  bad %d %s" % (number + 1, name, peer.name, line["rps"],
                                           line["events_s"], gateway, line["foreign"], line["bad"],
                                           line["reasons"] or ""), flush=True)
    return lines
