"""Processes of a lab: started with a log file each, ended by their own pid."""

import os
import signal
import subprocess
import time


class Service:
    def __init__(self, name, command, log_path, env=None):
        self.name = name
        self.log_path = log_path
        with open(log_path, "ab") as log:
            # A session of its own: an interrupt at the terminal reaches the lab, and the lab ends
            # its services in order.
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, env=env, start_new_session=True)

    @property
    def pid(self):
        return self.process.pid

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def alive(self):
        return self.process.poll() is None

    def signal(self, number):
        if self.alive():
            self.process.send_signal(number)

    def wait(self, seconds):
        return self.process.wait(timeout=seconds)

    def stop(self, seconds=15):
        self.signal(signal.SIGTERM)
        try:
            self.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self):
        self.signal(signal.SIGKILL)
        self.wait(10)


def wait_until(condition, what, seconds=30, service=None):
    """Polls until `condition()` is true; gives up with the log of the service that should be."""
    deadline = time.monotonic() + seconds
    while True:
        if condition():
            return
        dead = service is not None and not service.alive()
        if dead or time.monotonic() > deadline:
            log = service.log()[-4000:] if service else ""
            end = f"{service.name} ended with {service.process.returncode}" if dead else "timed out"
            raise RuntimeError(f"waiting for {what}: {end}\n{log}")
        time.sleep(0.02)


def environ_of(pid):
    with open(f"/proc/{pid}/environ", "rb") as file:
        return file.read()


def cmdline_of(pid):
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        return file.read()


def is_executable(path):
    return os.path.isfile(path) and os.access(path, os.X_OK)
