"""One boot: QEMU with an initramfs and two serial ports, the console and the results."""

import os
import pathlib
import platform
import subprocess
import threading

from harness import apt

MEMORY_MIB = 1024
BOOT_SECONDS = 1800
# A hypervisor that can run Debian's kernels has them up in two seconds; one that cannot hangs.
PROBE_SECONDS = 30
# An emulated CPU that waits for the host looks stalled to the guest's watchdogs, which would write
# what we take for a kernel's mistake, and its timer looks dead at boot; a real hang ends without
# DONE.
PARAMETERS = ("console=ttyS0", "loglevel=5", "panic=-1", "nowatchdog", "no_timer_check",
              "rcupdate.rcu_cpu_stall_suppress=1")


def _verdict_of_kvm():
    return apt.cache() / f"kvm-{platform.release()}"


def _accelerators():
    """In the order to try. What KVM is worth is known only by trying: once for each host kernel."""
    known = _verdict_of_kvm()
    if not os.access("/dev/kvm", os.R_OK | os.W_OK) or known.exists() and "no" in known.read_text():
        return ["tcg,thread=multi"]
    return ["kvm", "tcg,thread=multi"]


def _memory_mib(archive):
    # The archive is there twice while the guest unpacks it, and may fill no more than half.
    return MEMORY_MIB + 2 * (archive.stat().st_size >> 20)


def _command(kernel, tools, archive, console, accelerator):
    data = tools.root / "usr/share"
    return [*tools.command("usr/bin/qemu-system-x86_64"), "-L", str(data / "qemu"),
            "-L", str(data / "seabios"), "-accel", accelerator, "-M", "q35", "-cpu", "max",
            "-smp", "2", "-m", str(_memory_mib(archive)), "-nodefaults", "-no-user-config",
            "-no-reboot", "-display", "none", "-serial", f"file:{console}", "-serial", "stdio",
            "-kernel", str(kernel.image), "-initrd", str(archive),
            "-append", " ".join(PARAMETERS)]


def _run(command, tools, seconds, boot_seconds, on_line):
    """True if the guest's first script ran, whatever came of it."""
    env = {**os.environ,
           "QEMU_MODULE_DIR": str(tools.root / "usr/lib/x86_64-linux-gnu/qemu")}
    booted = False
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                          stderr=subprocess.STDOUT, errors="replace", env=env) as qemu:
        limit = threading.Timer(seconds, qemu.kill)
        boot_limit = threading.Timer(boot_seconds, qemu.kill)
        for timer in (limit, boot_limit):
            timer.start()
        try:
            for line in qemu.stdout:
                if line.startswith("BOOTED "):
                    booted = True
                    boot_limit.cancel()
                on_line(line.rstrip("\r\n"))
        finally:
            limit.cancel()
            boot_limit.cancel()
            qemu.kill()
    return booted


def boot(kernel, tools, archive, console: pathlib.Path, on_line):
    """Calls on_line with what the guest writes to its results port; the console goes to a file."""
    for accelerator in _accelerators():
        by_kvm = accelerator == "kvm"
        command = _command(kernel, tools, archive, console, accelerator)
        booted = _run(command, tools, BOOT_SECONDS, PROBE_SECONDS if by_kvm else BOOT_SECONDS,
                      on_line)
        if booted or not by_kvm:
            return
        _verdict_of_kvm().write_text("no: it did not boot a kernel of kernels.txt\n")
