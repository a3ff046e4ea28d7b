"""The command line: fetch, pack, boot, judge, for one kernel or for all."""

import argparse
import pathlib
import subprocess
import sys
import tempfile

from harness import apt, image, kernels, machine
from harness.verdict import Verdict, self_check, splat

HERE = pathlib.Path(__file__).resolve().parents[1]
CONSOLE_LINES = 60
EXIT_UNAVAILABLE = 77


def note(text):
    print(text, file=sys.stderr, flush=True)


def _arguments():
    parser = argparse.ArgumentParser(prog="vm-tests/run", description="Our binaries on Debian's "
                                     "kernels: one JSON line a test, DONE n/m at the end.")
    parser.add_argument("kernel", nargs="?", help="a series of kernels.txt: 6.1")
    parser.add_argument("filter", nargs="?", default="", help="only cases whose name has this")
    parser.add_argument("--all", action="store_true", help="every kernel of kernels.txt")
    parser.add_argument("--bench", action="store_true",
                        help="measure (bench/*.sh) instead of test; the tables go to stderr")
    parser.add_argument("--build", type=pathlib.Path, default=HERE.parent / "build",
                        help="the build folder whose binaries run (default: build)")
    options = parser.parse_args()
    if options.all and options.kernel:
        options.kernel, options.filter = None, options.kernel
    if not options.all and not options.kernel:
        parser.error("name a kernel of kernels.txt, or --all")
    return parser, options


def _folder(options):
    return HERE / ("bench" if options.bench else "cases")


def _run(pin, tools, options, cases):
    kernel = kernels.fetch(pin, tools)
    note(f"== {pin.series}: {kernel.release} ({kernel.version})")
    verdict = Verdict()

    def on_line(line):
        if verdict.add(line) or line.startswith("DONE "):
            print(line, flush=True)
        else:
            note(line)

    with tempfile.TemporaryDirectory(prefix="tollgate-vm-") as scratch:
        root = pathlib.Path(scratch) / "root"
        root.mkdir(mode=0o755)
        archive = image.make(root, kernel, tools, options.build, _folder(options), cases)
        console = pathlib.Path(scratch) / "console"
        machine.boot(kernel, tools, archive, console, on_line)
        text = console.read_text(errors="replace")
    failures = verdict.failures()
    if verdict.done is None and (last_words := splat(text)):
        failures.append(last_words)
    counts = ", ".join(f"{count} {result}" for result, count in verdict.counts.items())
    if failures:
        kept = apt.cache() / f"console-{pin.series}.log"
        kept.write_text(text)
        note("\n".join(text.splitlines()[-CONSOLE_LINES:]))
        note(f"FAILED {pin.series}: {'; '.join(failures)} ({counts}; all of it: {kept})")
    else:
        note(f"ok {pin.series}: {counts}")
    return not failures


def main():
    parser, options = _arguments()
    if not self_check():
        note("vm-tests: the judge's own examples are judged wrongly")
        return 1
    pins = [pin for pin in kernels.pins() if options.all or pin.series == options.kernel]
    cases = sorted(path.stem for path in _folder(options).glob("*.sh")
                   if options.filter in path.stem)
    if not pins or not cases:
        parser.error(f"no kernel {options.kernel}: kernels.txt has "
                     f"{', '.join(pin.series for pin in kernels.pins())}" if not pins else
                     f"no case has {options.filter} in its name")
    try:
        tools = kernels.Tools()
        return 0 if all([_run(pin, tools, options, cases) for pin in pins]) else 1
    except apt.NoMirror as error:
        note(f"vm-tests: {error}")
        return EXIT_UNAVAILABLE
    except (RuntimeError, subprocess.CalledProcessError) as error:
        note(f"vm-tests: {error}")
        return 1
