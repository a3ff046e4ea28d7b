"""The kernels of kernels.txt, as files: an image to boot and modules to load."""

import dataclasses
import pathlib
import subprocess

from harness import apt

LIST = pathlib.Path(__file__).resolve().parents[1] / "kernels.txt"
# QEMU 7.2 of bookworm crashes a 6.12 guest in one boot of three; trixie's does not.
TOOLS_SUITE = "trixie"
TOOLS = ("qemu-system-x86", "busybox-static", "kmod")


@dataclasses.dataclass
class Pin:
    series: str
    suite: str
    package: str
    version: str


@dataclasses.dataclass
class Kernel:
    pin: Pin
    version: str      # what really runs: the pin's, or what the suite has instead
    release: str      # as `uname -r` says
    image: pathlib.Path
    modules: pathlib.Path

    @property
    def moved(self):
        """Why this is not the pinned kernel; empty if it is."""
        if self.version == self.pin.version:
            return ""
        return (f"{self.pin.suite} no longer has {self.pin.version}; this is {self.version}: "
                "pin it in kernels.txt")


class Tools:
    """QEMU, busybox and kmod with the libraries and the loader they were built for."""

    def __init__(self):
        self.root = apt.Suite(TOOLS_SUITE).unpack(f"tools-{TOOLS_SUITE}", TOOLS)
        self.busybox = self.root / "usr/bin/busybox"

    def command(self, path, name=None):
        """The start of a command line that runs a program of the tree on any machine."""
        libraries = [self.root / "usr/lib/x86_64-linux-gnu"]
        libraries += [folder for folder in libraries[0].iterdir() if folder.is_dir()]
        loader = libraries[0] / "ld-linux-x86-64.so.2"
        return [str(loader), "--argv0", name or pathlib.Path(path).name, "--library-path",
                ":".join(map(str, libraries)), str(self.root / path)]


def pins():
    lines = [line.split("#")[0].split() for line in LIST.read_text().splitlines()]
    return [Pin(*fields) for fields in lines if fields]


def fetch(pin, tools):
    suite = apt.Suite(pin.suite)
    version = pin.version
    try:
        tree = _unpack(suite, pin, version)
    except apt.Gone as gone:
        version = gone.offered
        if not version.startswith(f"{pin.series}."):
            raise RuntimeError(f"fetch kernel {pin.series}: {gone}") from gone
        tree = _unpack(suite, pin, version)
    image = next(iter([*tree.glob("boot/vmlinuz-*"), *tree.glob("usr/lib/modules/*/vmlinuz")]))
    modules = next(iter([*tree.glob("lib/modules/*"), *tree.glob("usr/lib/modules/*")]))
    if not (modules / "modules.dep").exists():
        base = str(modules).removesuffix(f"/lib/modules/{modules.name}")
        subprocess.run([*tools.command("usr/bin/kmod", "depmod"), "-b", base, modules.name],
                       check=True)
    return Kernel(pin, version, modules.name, image, modules)


def _unpack(suite, pin, version):
    return suite.unpack(f"kernel-{version}", [f"{pin.package}={version}"],
                        lambda package: package.startswith("linux-") and package != "linux-base")
