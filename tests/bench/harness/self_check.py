"""Does the bench notice what is wrong? A second of load through the floor, right and wrong."""
from harness.measure import Bench
from harness.peers import PEERS
from harness.process import stop

SHORT = " --conns 4 --secs %s --warm 0"
JSON = "--mode req" + SHORT % "0.3"
STREAM = "--mode sse --events 20 --size 16" + SHORT % "0.3"
# What it is, the load, does the client send the key, wanted exit code, wanted count.
CASES = [
    ("right answers", JSON, True, 0, None),
    ("right streams", STREAM, True, 0, None),
    ("right answers on new connections", "--mode hs" + SHORT % "0.3", True, 0, None),
    ("a paced stream", STREAM + " --delay-us 5000", True, 0, None),
    ("wrong usage in an answer", JSON + " --fault 1", True, 1, "incomplete"),
    ("wrong usage in a stream", STREAM + " --fault 1", True, 1, "incomplete"),
    ("a missing event", STREAM + " --fault 2", True, 1, "incomplete"),
    ("a missing key", JSON, False, 1, "not_200"),
]


def self_check(place):
    """Returns the number of cases that failed."""
    failed = 0
    with Bench(place) as bench:
        for name in ("floor", "floor-uptls"):
            peer = PEERS[name]
            process, port = bench.start_gateway(peer)
            try:
                for what, args, sends_key, wanted_exit, wanted_count in CASES:
                    sender = peer if sends_key else PEERS["nginx-1.22"]  # one that sends no key
                    line, code = bench.load(sender, process, port, "4k", args)
                    right = code == wanted_exit and (
                        line[wanted_count] > 0 if wanted_count else line["bad"] == 0 < line["ok"])
                    failed += not right
                    print("%s  %-12s %-34s exit %d, %d right, %d bad %s" % (
                        "ok  " if right else "FAIL", name, what, code, line["ok"], line["bad"],
                        line["reasons"] or ""), flush=True)
            finally:
                stop(process)
    return failed
