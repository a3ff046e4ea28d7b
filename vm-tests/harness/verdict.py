"""What a boot's lines amount to. No result is a failure; so is a boot that skipped everything."""

import json
import pathlib
import re

LIBRARY = pathlib.Path(__file__).resolve().parents[1] / "lib.sh"
DONE = re.compile(r"DONE (\d+)/(\d+)")
FIELDS = {"test", "result", "reason", "ms"}
RESULTS = ("pass", "fail", "skip")


def splat(console):
    """The first line that a healthy kernel does not write, or None; the guest has the pattern."""
    pattern = re.search(r"^splats='(.*)'$", LIBRARY.read_text(), re.M).group(1)
    return next((line for line in console.splitlines() if re.search(pattern, line)), None)


class Verdict:
    def __init__(self):
        self.counts = dict.fromkeys(RESULTS, 0)
        self.done = None
        self.problems = []

    def add(self, line):
        """Takes one line of the results port; returns the result it is, or None."""
        if found := DONE.fullmatch(line):
            self.done = tuple(map(int, found.groups()))
            return None
        try:
            result = json.loads(line)
        except ValueError:
            return None
        if not isinstance(result, dict) or set(result) != FIELDS or \
                result["result"] not in RESULTS:
            self.problems.append(f"not a result: {line}")
            return None
        if result["result"] == "skip" and not result["reason"]:
            self.problems.append(f"{result['test']} is skipped without a reason")
        self.counts[result["result"]] += 1
        return result

    def failures(self):
        """Why this boot failed; nothing if it did not."""
        reasons = list(self.problems)
        passed, total = self.counts["pass"], sum(self.counts.values())
        if self.counts["fail"]:
            reasons.append(f"{self.counts['fail']} failed")
        if self.done is None:
            reasons.append("no DONE: the guest panicked, hung or was cut off")
        elif self.done != (passed, total):
            reasons.append(f"DONE {self.done[0]}/{self.done[1]} but {passed}/{total} came")
        # The look at the kernel's log always passes or fails: it proves nothing by itself.
        if passed <= 1:
            reasons.append("nothing but skips")
        return reasons


def _judge(*lines):
    verdict = Verdict()
    for line in lines:
        verdict.add(line)
    return verdict.failures()


def self_check():
    """Both sides of each rule; run before every run, as the rules under tests/rules are."""
    def line(result, reason=""):
        return json.dumps({"test": "t", "result": result, "reason": reason, "ms": 1})

    good, log = line("pass"), line("pass")
    accepted = [(good, log, "DONE 2/2"), (good, line("skip", "no IPv6"), log, "DONE 2/3")]
    refused = [(good, log), (good, log, "DONE 1/2"), (good, line("fail", "x"), log, "DONE 2/3"),
               (line("skip", "no"), log, "DONE 1/2"), (good, line("skip"), log, "DONE 2/3"),
               (good, log, line("maybe"), "DONE 2/3"), ()]
    splats = ["WARNING: CPU: 0 PID: 1", "BUG: unable to handle page fault", "Oops: 0002 [#1]"]
    return (all(map(splat, splats)) and splat("wireguard: WireGuard 1.0.0 loaded.") is None
            and not any(_judge(*lines) for lines in accepted)
            and all(_judge(*lines) for lines in refused))
