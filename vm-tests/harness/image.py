"""The initramfs: busybox, the kernel's modules that we name, our binaries, the host's commands.

It is the guest's whole root: no disk, no driver for one, nothing to unpack but what the cases use.
"""

import pathlib
import re
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parents[1]
REPOSITORY = HERE.parent
LAB = REPOSITORY / "tests/integration"
# What the cases load or the kernel asks for; their dependencies come along. Of several names, the
# first that the kernel has: ciphers move between modules.
MODULES = ("wireguard", "veth", "nf_tables", "nft_reject_inet", "nft_socket", "tls", "gcm", "ctr",
           "aesni_intel", "ghash_clmulni_intel gcm", "ghash_generic gcm", "chacha20poly1305",
           "chacha_generic chacha", "poly1305_generic libpoly1305")
# Built into nf_tables from 6.2 on.
MODULES_OF_SOME = ("nft_objref",)
# From the build folder; they lie in /tollgate.
BINARIES = ("bin/tollgate", "bin/tollgated", "tests/unit/bpf/steer_program_test",
            "tests/unit/kernel/steering_test", "tests/unit/kernel/interception_test",
            "tests/unit/io/io_test", "tests/unit/tls/tls_test", "tests/unit/proxy/stream_tls_test")
BENCH_BINARIES = ("tests/bench/bench_tls_paths",)
OBJECTS = "bpf/*.bpf.o"
COMMANDS = ("ip", "wg", "nft", "bpftool", "curl", "openssl")
OPENSSL_CONFIGURATION = "/usr/lib/ssl/openssl.cnf"
LIBRARY = re.compile(r"(/\S+) \(0x")
PYTHON = "/usr/bin/python3"
# Every file that Python has open to it once the mock provider is imported.
MOCK_MODULES = """
import encodings.idna, encodings.latin_1, sys
import tollgate_lab.mock_provider
for module in list(sys.modules.values()):
    print(getattr(module, "__file__", None) or "", getattr(module, "__cached__", None) or "")
"""


def _libraries(program):
    done = subprocess.run(["ldd", str(program)], capture_output=True, text=True)
    return LIBRARY.findall(done.stdout) if done.returncode == 0 else []


def _copy(root, source, target=None):
    destination = root / str(target or source).lstrip("/")
    if not destination.exists():
        destination.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, destination)  # by its time Python knows a compiled module
    return destination


def _program(root, source, target):
    for library in _libraries(source):
        _copy(root, library)
    return _copy(root, source, target)


def _dependencies(modules):
    """Module name → its file and the files it needs, in the order to load."""
    table = {}
    for line in (modules / "modules.dep").read_text().splitlines():
        path, _, needs = line.partition(":")
        name = pathlib.Path(path).name.split(".")[0].replace("-", "_")
        table[name] = [*reversed(needs.split()), path]
    return table


def _add_modules(root, kernel, tools):
    target = root / "lib/modules" / kernel.release
    target.mkdir(parents=True)
    builtin = (kernel.modules / "modules.builtin").read_text()
    table = _dependencies(kernel.modules)
    for names in (*MODULES, *MODULES_OF_SOME):
        if (any(f"/{name}.ko" in builtin for name in names.split())
                or (names in MODULES_OF_SOME and names not in table)):
            continue
        name = next((name for name in names.split() if name in table), None)
        if name is None:
            raise RuntimeError(f"find module {names}: {kernel.release} has none")
        for path in table[name]:
            file = target / re.sub(r"\.xz$", "", path)
            file.parent.mkdir(parents=True, exist_ok=True)
            with open(file, "wb") as out:
                reader = [tools.busybox, "xzcat"] if path.endswith(".xz") else ["cat"]
                subprocess.run([*reader, kernel.modules / path], stdout=out, check=True)
    for index in ("modules.builtin", "modules.order", "modules.builtin.modinfo"):
        shutil.copy(kernel.modules / index, target)
    subprocess.run([*tools.command("usr/bin/kmod", "depmod"), "-b", root, kernel.release],
                   check=True)


def _add_busybox(root, tools):
    _copy(root, tools.busybox, "/bin/busybox")
    listed = subprocess.run([tools.busybox, "--list-full"], capture_output=True, text=True,
                            check=True).stdout.split()
    for applet in listed:
        link = root / applet
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            link.symlink_to("/bin/busybox")


def _add_ours(root, build, binaries):
    for name in binaries:
        source = build / name
        if not source.exists():
            raise RuntimeError(f"find {name} in {build}: build it, or name another folder by "
                               "--build")
        binary = _program(root, source, f"/tollgate/{source.name}")
        subprocess.run(["strip", str(binary)], check=True)  # 70 MB of symbols to unpack each boot
    for source in build.glob(OBJECTS):
        _copy(root, source, f"/tollgate/{source.name}")
    _copy(root, REPOSITORY / "deploy/prices.json", "/tollgate/prices.json")


def _add_commands(root):
    # The host's shell, and not busybox's, which takes its own `ip` for any other.
    _program(root, "/bin/sh", "/bin/sh")
    for command in COMMANDS:
        path = shutil.which(command, path="/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin")
        if path is None:
            raise RuntimeError(f"find {command}: install the packages of deploy/packages")
        _program(root, path, f"/usr/sbin/{command}")
    _copy(root, OPENSSL_CONFIGURATION)


def _add_codex(root):
    """The pinned client's own binary, and the mock provider with the Python that it needs."""
    sys.path.insert(0, str(LAB))
    from tollgate_lab.codex import codex_folder
    folder = codex_folder()
    binaries = list(folder.glob("node_modules/@openai/codex-*/vendor/*/bin/codex")) if folder else []
    if not binaries:
        return  # the case says so
    _copy(root, binaries[0], "/tollgate/codex")
    _program(root, PYTHON, PYTHON)
    listed = subprocess.run([PYTHON, "-B", "-c", MOCK_MODULES], cwd=LAB, env={"PATH": "/usr/bin:/bin"},
                            capture_output=True, text=True, check=True).stdout.split()
    for file in map(pathlib.Path, listed):
        if not file.exists():
            continue
        if file.is_relative_to(LAB):
            _copy(root, file, pathlib.Path("/") / file.relative_to(LAB))
        elif file.suffix == ".so":
            _program(root, file, file)
        else:
            _copy(root, file)


def _add_accounts(root):
    (root / "etc").mkdir(exist_ok=True)
    (root / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\nnogroup:x:65534:\n")


def make(root, kernel, tools, build, folder, chosen):
    """Fills the empty folder `root`, with `folder` as its cases, and returns the cpio archive
    beside it."""
    _add_commands(root)
    _add_accounts(root)
    _add_busybox(root, tools)
    _add_ours(root, build, BENCH_BINARIES if folder.name == "bench" else BINARIES)
    _add_modules(root, kernel, tools)
    if "codex" in chosen:
        _add_codex(root)
    shutil.copytree(folder, root / "cases")
    for name in ("init", "lib.sh", "gateway.sh", "verifier.txt"):
        _copy(root, HERE / name, f"/{name}")
    (root / "init").chmod(0o755)
    (root / "chosen").write_text("".join(f"{case}\n" for case in chosen))
    (root / "series").write_text(f"{kernel.pin.series}\n")
    (root / "moved").write_text(kernel.moved)
    archive = root.with_suffix(".cpio")
    with open(archive, "wb") as out:
        listing = subprocess.run(["find", "."], cwd=root, capture_output=True, check=True).stdout
        subprocess.run([tools.busybox, "cpio", "-o", "-H", "newc", "-R", "0:0"], cwd=root,
                       input=listing, stdout=out, stderr=subprocess.DEVNULL, check=True)
    return archive
