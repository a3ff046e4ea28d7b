#!/usr/bin/env python3
"""Arrows point down: every #include of the tree against the table below (tests/rules/README.md).

Exits 1 and names each include that points up or sideways. Checks itself first.
"""
import pathlib
import re
import sys

BASE = {"userspace/base"}
# folder → what its files may include besides themselves
ALLOWED = {
    "bpf": set(),
    "userspace/base": set(),
    "policy": BASE,
    "userspace/codec": BASE,
    "ringbuf": BASE | {"bpf"},
    "userspace/io": BASE,
    "userspace/tls": BASE | {"userspace/io"},
    "userspace/kernel": BASE | {"bpf", "policy", "ringbuf", "userspace/identity"},
    "userspace/identity": BASE | {"policy"},
    "userspace/ledger": BASE | {"policy", "ringbuf"},
    "userspace/admin": BASE | {"policy", "ringbuf", "userspace/ledger", "userspace/io"},
    "userspace/proxy": BASE | {"policy", "ringbuf", "userspace/codec", "userspace/identity",
                               "userspace/io", "userspace/tls", "userspace/ledger"},
    "userspace/ctl": BASE | {"userspace/admin"},
}
EVERYTHING = {"userspace/daemon", "tests"}
# headers of base that read the machine's state: not for those who are pure
IMPURE = {"userspace/base/calendar.h"}
PURE = {"policy", "userspace/codec", "ringbuf"}
# system headers that belong to one folder alone
SYSTEM = [
    (re.compile(r"^(bpf/(bpf|libbpf|btf)|linux/bpf)"), {"userspace/kernel", "ringbuf", "bpf"}),
    (re.compile(r"^sqlite3\.h|^libpq"), {"userspace/ledger"}),
    (re.compile(r"^openssl/"), {"userspace/tls"}),
    (re.compile(r"^liburing"), {"userspace/io"}),
    (re.compile(r"^libmnl"), {"userspace/kernel", "userspace/identity"}),
    (re.compile(r"^nftables/"), {"userspace/kernel"}),
    (re.compile(r"^curl/"), {"userspace/daemon"}),
    (re.compile(r"^toml\+\+"), {"policy"}),
    (re.compile(r"^date/"), {"userspace/base"}),
    (re.compile(r"^CLI/"), {"userspace/ctl", "userspace/daemon"}),
    (re.compile(r"^spdlog/"), {"userspace/io", "userspace/proxy", "userspace/admin",
                              "userspace/daemon"}),
]
INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]', re.M)
FOLDERS = sorted(list(ALLOWED) + list(EVERYTHING), key=len, reverse=True)


def folder_of(path):
    return next((f for f in FOLDERS if path == f or path.startswith(f + "/")), None)


def judge(path, text):
    """The complaints about one file, `path` relative to the root."""
    home = folder_of(path)
    if home is None or home == "tests":
        return []
    complaints = []
    for quote, target in INCLUDE.findall(text):
        if quote == "<":
            for pattern, owners in SYSTEM:
                if pattern.match(target) and home not in owners:
                    complaints.append(f"{path}: <{target}> belongs to {', '.join(sorted(owners))}")
            continue
        there = folder_of(target)
        if there is None or there == home or home in EVERYTHING:
            continue
        pure = home not in PURE or target not in IMPURE
        if there == "tests" or there not in ALLOWED[home] or not pure:
            complaints.append(f"{path}: {home} may not include \"{target}\"")
    return complaints


def self_check():
    must_fail = [
        ("userspace/proxy/a.cc", "#include <bpf/libbpf.h>\n"),
        ("userspace/proxy/a.cc", "#include <sqlite3.h>\n"),
        ("userspace/proxy/a.cc", "#include <curl/curl.h>\n"),
        ("userspace/proxy/a.cc", '#include "userspace/kernel/steering.h"\n'),
        ("userspace/ctl/a.cc", '#include "policy/policy.h"\n'),
        ("policy/a.cc", '#include "userspace/codec/http1.h"\n'),
        ("policy/a.cc", '#include "userspace/base/calendar.h"\n'),
        ("userspace/proxy/a.cc", "#include <date/tz.h>\n"),
        ("userspace/codec/a.cc", '#include "policy/policy.h"\n'),
        ("userspace/base/a.h", '#  include "policy/price.h"\n'),
    ]
    must_pass = [
        ("policy/a.cc", '#include "userspace/base/ip.h"\n#include <map>\n'),
        ("userspace/daemon/a.cc", '#include "userspace/proxy/session.h"\n'),
        ("userspace/proxy/a.cc", '#include "userspace/base/calendar.h"\n'),
        ("userspace/ledger/a.cc", '#include <sqlite3.h>\n#include "ringbuf/record.h"\n'),
    ]
    return (all(judge(*case) for case in must_fail)
            and not any(judge(*case) for case in must_pass))


def main():
    if not self_check():
        print("layering.py: its own examples are judged wrongly")
        return 1
    root = pathlib.Path(sys.argv[1])
    complaints = []
    for top in ("bpf", "policy", "ringbuf", "userspace"):
        for path in sorted((root / top).rglob("*")):
            if path.suffix in (".h", ".cc", ".c"):
                complaints += judge(str(path.relative_to(root)), path.read_text(errors="replace"))
    print("\n".join(complaints))
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
