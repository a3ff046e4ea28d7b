"""Runs become Markdown tables, and the targets are held against them. Ratios are taken within a
round, where the machine was the same for both, and the median of the rounds is shown."""
from statistics import median

from harness.peers import PEERS
from harness.scenarios import REFERENCE, SCENARIOS, TARGETS

FLOOR = "floor"
OURS = [p.name for p in PEERS.values() if p.ours]


def derive(line):
    """The figures of one run that are compared."""
    scenario = SCENARIOS[line["scenario"]]
    figures = {"rps": line["rps"], "evs": line["events_s"], "bad": line["bad"],
               "foreign": line["foreign"]}
    if scenario.latency and line[scenario.latency]["n"]:
        for q in ("p50", "p99"):
            figures[q] = line[scenario.latency][q + "_us"]
    gateway = line["watched"].get("gateway")
    if not gateway:
        return figures
    work = line["ok"] / 1e3 if scenario.unit == "request" else line["events"] / 1e6
    if work:
        figures["cpu"] = gateway["cpu_s"] / work
        figures["kernel"] = line["kernel_threads_cpu_s"] / work
    figures["busy"] = gateway["cpu_s"] / line["secs"]
    if scenario.memory:
        grown_kb = max(gateway["pss_kb"]) - gateway["pss_kb"][0]
        figures["memory"] = grown_kb / 1024 / line["conns"] * 1000
    return figures


class Results:
    def __init__(self, lines):
        self._by = {}  # scenario → peer → round → figures
        for line in lines:
            peers = self._by.setdefault(line["scenario"], {})
            peers.setdefault(line["peer"], {})[line["round"]] = derive(line)

    def scenarios(self):
        return [s for s in SCENARIOS if s in self._by]

    def peers(self, scenario):
        return [p for p in PEERS if p in self._by[scenario]]

    def values(self, scenario, peer, key):
        rounds = self._by.get(scenario, {}).get(peer, {})
        return {r: f[key] for r, f in rounds.items() if key in f}

    def median(self, scenario, peer, key):
        values = self.values(scenario, peer, key).values()
        return median(values) if values else None

    def ratio(self, scenario, peer, other, key):
        ratios = [m / t for m, t in self._pairs(scenario, peer, other, key) if t > 0]
        return median(ratios) if ratios else None

    def difference(self, scenario, peer, other, key):
        differences = [m - t for m, t in self._pairs(scenario, peer, other, key)]
        return median(differences) if differences else None

    def _pairs(self, scenario, peer, other, key):
        mine, theirs = (self.values(scenario, p, key) for p in (peer, other))
        return [(mine[r], theirs[r]) for r in mine if r in theirs]


def like(base, peer):
    """The variant of `base` with the same kind of upstream as `peer`."""
    return base + PEERS[peer].family


def show(value, digits):
    return "-" if value is None else "%.*f" % (digits, value)


def spread(results, scenario, peer, key, digits):
    values = list(results.values(scenario, peer, key).values())
    text = show(median(values) if values else None, digits)
    if len(values) > 1:
        text += " (%.*f..%.*f)" % (digits, min(values), digits, max(values))
    return text


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def work_table(results, scenario):
    request = SCENARIOS[scenario].unit == "request"
    head = ["peer", "req/s" if request else "events/s",
            "CPU s per 1,000 requests" if request else "CPU s per 1,000,000 events",
            "CPU vs " + REFERENCE, "CPU vs floor", "kernel threads, same unit", "core use",
            "foreign", "bad"]
    digits = 4 if request else 1
    rows = []
    for peer in results.peers(scenario):
        get = lambda key: results.median(scenario, peer, key)  # noqa: E731
        rows.append([
            peer, show(get("rps" if request else "evs"), 0),
            spread(results, scenario, peer, "cpu", digits),
            show(results.ratio(scenario, peer, like(REFERENCE, peer), "cpu"), 2),
            show(results.ratio(scenario, peer, like(FLOOR, peer), "cpu"), 2),
            show(get("kernel"), digits), show(get("busy"), 2), show(get("foreign"), 2),
            "%d" % sum(results.values(scenario, peer, "bad").values())])
    return table(head, rows)


def latency_table(results, scenario):
    rows = []
    for peer in results.peers(scenario):
        row = [peer] + [show(results.median(scenario, peer, q), 0) for q in ("p50", "p99")]
        for other in ("direct", like(FLOOR, peer)):
            row += [show(results.difference(scenario, peer, other, q), 0) for q in ("p50", "p99")]
        rows.append(row)
    return table(["peer", "p50 us", "p99 us", "added to direct: p50", "p99", "added to floor: p50",
                  "p99"], rows)


def memory_table(results, scenario):
    rows = []
    for peer in results.peers(scenario):
        if not results.values(scenario, peer, "memory"):
            continue
        rows.append([peer, spread(results, scenario, peer, "memory", 1),
                     show(results.ratio(scenario, peer, like(REFERENCE, peer), "memory"), 2),
                     show(results.ratio(scenario, peer, like(FLOOR, peer), "memory"), 2)])
    return table(["peer", "MB PSS per 1,000 streams", "vs " + REFERENCE, "vs floor"], rows)


def targets_table(results):
    rows = []
    for target in TARGETS:
        for peer in OURS:
            reference = like(REFERENCE, peer)
            ratio = results.ratio(target.scenario, peer, reference, target.figure)
            bad = sum(results.values(target.scenario, peer, "bad").values())
            verdict = "not measured"
            if ratio is not None:
                verdict = "met" if ratio <= target.ratio_max and not bad else "NOT MET"
                verdict += ", with %d bad answers" % bad if bad else ""
            rows.append([target.what, target.scenario, peer, reference, show(ratio, 2),
                         "<= %.1f" % target.ratio_max, verdict])
    return table(["target", "scenario", "peer", "against", "ratio", "wanted", "verdict"], rows)


def markdown(lines):
    results = Results(lines)
    parts = ["## Targets", targets_table(results)]
    for name in results.scenarios():
        scenario = SCENARIOS[name]
        parts += ["## %s: %s" % (name, scenario.what), work_table(results, name)]
        if scenario.latency:
            parts += ["Latency of %s" % ("a whole answer" if scenario.unit == "request"
                                         else "one event"), latency_table(results, name)]
        if scenario.memory:
            parts += ["Memory", memory_table(results, name)]
    return "\n\n".join(parts)
