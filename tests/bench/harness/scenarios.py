"""What is measured, and the targets that our figures are held against."""
from dataclasses import dataclass


@dataclass(frozen=True)
class Scenario:
    what: str
    unit: str  # "request": CPU per 1,000; "event": CPU per 1,000,000
    body: str
    args: str  # for bench_loadgen
    latency: str = ""  # the histogram whose p50 and p99 are compared; "": a closed loop, no latency
    memory: bool = False


PACED = "--mode sse --events 100 --delay-us 20000 --size 16"
SCENARIOS = {
    "req4k": Scenario("4 KB requests, 32 connections, each after the last", "request", "4k",
                      "--mode req --conns 32 --secs 3"),
    "req64k": Scenario("64 KB requests, 16 connections, each after the last", "request", "64k",
                       "--mode req --conns 16 --secs 3"),
    "req1m": Scenario("1 MB requests, 8 connections, each after the last", "request", "1m",
                      "--mode req --conns 8 --secs 3"),
    "lat4k": Scenario("4 KB requests at 200 a second, 32 connections", "request", "4k",
                      "--mode req --conns 32 --secs 5 --rate 200", latency="last_byte"),
    "sse50": Scenario("50 streams, an event every 20 ms on each", "event", "4k",
                      PACED + " --conns 50 --secs 5", latency="event_delay"),
    "sse200": Scenario("200 streams, an event every 20 ms on each", "event", "4k",
                       PACED + " --conns 200 --secs 5 --mem", latency="event_delay"),
    "sse1000": Scenario("1,000 streams, an event every 20 ms on each", "event", "4k",
                        PACED + " --conns 1000 --secs 5 --warm 2.5 --mem", latency="event_delay",
                        memory=True),
    "idle": Scenario("1,000 open streams that say little, an event every 500 ms on each", "event",
                     "4k", "--mode sse --events 60 --delay-us 500000 --size 16 --conns 1000 "
                     "--secs 4 --warm 2 --mem", latency="event_delay", memory=True),
    "sseburst16k": Scenario("16 streams of 5,000 events as fast as they go, 16 KB a write", "event",
                            "4k", "--mode sse --conns 16 --events 5000 --batch 0 --size 16 "
                            "--secs 3"),
    "hsfull": Scenario("4 KB requests, a new TLS connection for each, as Codex does", "request",
                       "4k", "--mode hs --conns 8 --secs 3"),
}


@dataclass(frozen=True)
class Target:
    scenario: str
    figure: str  # a key of report.derive()
    what: str
    ratio_max: float


REFERENCE = "nginx-1.22"
TARGETS = [
    Target("hsfull", "cpu", "CPU per request on a new TLS connection", 1.0),
    Target("sse200", "cpu", "CPU per paced event", 1.0),
    Target("sse1000", "memory", "memory per 1,000 open streams, busy", 1.0),
    Target("idle", "memory", "memory per 1,000 open streams, quiet", 1.0),
    Target("req64k", "cpu", "CPU per 64 KB request", 1.3),
]
