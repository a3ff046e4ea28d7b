"""Starting and ending what the bench runs, each pinned to its CPU."""
import os
import signal
import socket
import subprocess
import time

GATEWAY_CPU, LOAD_CPU = 1, 0


class BenchError(Exception):
    """One line that says what is wrong, and what to do."""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def is_open(port):
    try:
        socket.create_connection(("127.0.0.1", port), 0.2).close()
        return True
    except OSError:
        return False


def pin_and_lead(cpu):
    def before_exec():
        os.setsid()  # so that it is ended with all of its children
        os.sched_setaffinity(0, {cpu} if os.cpu_count() > 1 else {0})
    return before_exec


def start(command, cpu, log, port):
    """Returns when `port` is open."""
    with open(log, "ab") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT,
                                   stdin=subprocess.DEVNULL, preexec_fn=pin_and_lead(cpu))
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise BenchError("%s ended at once (exit %d): see %s" %
                             (command[0], process.returncode, log))
        if is_open(port):
            return process
        time.sleep(0.05)
    stop(process)
    raise BenchError("%s did not open its port: see %s" % (command[0], log))


def stop(process):
    if process is None or process.poll() is not None:
        return
    try:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(5)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_until_quiet(busy_max=0.35, tries=40):
    """Waits, for a while, until other work leaves most of the machine free. Returns how busy it
    still is."""
    def ticks():
        with open("/proc/stat") as f:
            v = [int(x) for x in f.readline().split()[1:9]]
        return sum(v), v[3] + v[4]
    busy = 1.0
    for _ in range(tries):
        total, idle = ticks()
        time.sleep(0.4)
        total_then, idle_then = ticks()
        busy = 1 - (idle_then - idle) / max(1, total_then - total)
        if busy < busy_max:
            break
    return busy
