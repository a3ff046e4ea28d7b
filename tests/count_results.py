#!/usr/bin/python3
"""Adds up JUnit files for tests/check: one count a test case, not one a binary.

GoogleTest and pytest write a file for each of their binaries; ctest's own file says how the
binaries ended. A binary that wrote no cases of its own (a fuzz replay, a crash) counts by that.
"""

import pathlib
import sys
import xml.etree.ElementTree as ET


def cases_of(path):
    """[(name, "passed" | "failed" | "skipped", reason)]"""
    cases = []
    for case in ET.parse(path).getroot().iter("testcase"):
        name = f"{case.get('classname', '')}.{case.get('name', '')}"
        bad = [e for tag in ("failure", "error") for e in case.findall(tag)]
        skip = case.find("skipped")
        if bad:
            cases.append((name, "failed", bad[0].get("message", "")))
        elif skip is not None or case.get("result") == "skipped":
            reason = "" if skip is None else (skip.get("message") or skip.text or "")
            cases.append((name, "skipped", reason))
        else:
            cases.append((name, "passed", ""))
    return cases


def main():
    folder = pathlib.Path(sys.argv[1])
    cases, detailed = [], set()
    for path in sorted(folder.glob("*.xml")):
        if path.name == "ctest.xml":
            continue
        try:
            found = cases_of(path)
        except ET.ParseError:
            continue  # the binary died while it wrote; ctest's line counts
        cases += found
        detailed.add(path.stem)
    summary = folder / "ctest.xml"
    if not summary.exists():
        cases.append(("ctest", "failed", "ctest left no report"))
    else:
        for name, result, reason in cases_of(summary):
            name = name.rpartition(".")[2]
            stem = name.removeprefix("integration_")
            own_failures = any(r == "failed" for _, r, _ in cases)
            if stem not in detailed or (result == "failed" and not own_failures):
                cases.append((name, result, reason))
    for result in ("passed", "failed", "skipped"):
        print(result, sum(1 for case in cases if case[1] == result))
    for word, result in (("failure", "failed"), ("skip", "skipped")):
        for name, outcome, reason in cases:
            if outcome == result:
                print(word, name, " ".join(reason.split())[:200])


if __name__ == "__main__":
    main()
