"""Network namespaces: made, wired and removed under names that only this run uses.

Commands enter a namespace with nsenter and not with `ip netns exec`, which would mount a fresh
/sys over the bpffs and cgroup2 that the daemon needs.
"""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def path_of(namespace):
    return f"/run/netns/{namespace}"


def entering(namespace, *command):
    """The command line that runs `command` inside the namespace."""
    return ["nsenter", f"--net={path_of(namespace)}", "--", *command]


def _set_namespace(fd):
    if _libc.setns(fd, CLONE_NEWNET) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"setns: {os.strerror(error)}")


@contextlib.contextmanager
def inside(namespace):
    """This thread is in the namespace for the block. A socket stays where it was made."""
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    target = os.open(path_of(namespace), os.O_RDONLY | os.O_CLOEXEC)
    try:
        _set_namespace(target)
        try:
            yield
        finally:
            _set_namespace(own)
    finally:
        os.close(target)
        os.close(own)


def make_socket(namespace, family=socket.AF_INET):
    with inside(namespace):
        return socket.socket(family, socket.SOCK_STREAM)


def add_namespace(name):
    run("ip", "netns", "add", name)
    run("ip", "-n", name, "link", "set", "lo", "up")


def add_address(namespace, device, address):
    flags = ["nodad"] if ":" in address else []
    run("ip", "-n", namespace, "address", "add", address, "dev", device, *flags)


def add_pair(first, first_device, second, second_device):
    """A veth pair across two namespaces, both ends up."""
    run("ip", "link", "add", first_device, "netns", first, "type", "veth",
        "peer", "name", second_device, "netns", second)
    for namespace, device in ((first, first_device), (second, second_device)):
        run("ip", "-n", namespace, "link", "set", device, "up")


def add_route(namespace, target, device, source=None):
    extra = ["src", source] if source else []
    run("ip", "-n", namespace, "route", "replace", target, "dev", device, *extra)


def remove_namespace(name):
    """With the processes that were left behind in it: the interactive client starts a service."""
    pids = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, check=False)
    for pid in pids.stdout.split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)
