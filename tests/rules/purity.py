#!/usr/bin/env python3
"""Pure archives call no socket, file, clock, environment or thread: read from `nm`, not trusted.

Exits 1 and names each forbidden symbol with its object file.
"""
import argparse
import re
import subprocess
import sys

FORBIDDEN = re.compile(r"""^(
    socket|socketpair|connect|accept4?|bind|listen|send(to|msg|mmsg)?|recv(from|msg|mmsg)?
  | getaddrinfo|gethostbyname(_r)?|(set|get)sockopt|poll|ppoll|select|epoll_\w+|io_uring_\w+
  | open(at)?(64)?|close|p?read(v|64)?|p?write(v|64)?|f?stat(at)?(64)?|unlink|rename|mmap(64)?|ioctl
  | fopen(64)?|fdopen|fread|fwrite|fputs|fputc|fclose|fgets|puts|printf|fprintf|vfprintf|perror
  | __(f|v|vf)?printf_chk|stdout|stderr|stdin|syslog
  | clock_gettime|gettimeofday|time|localtime(_r)?|gmtime(_r)?|nanosleep|usleep|sleep
  | getenv|secure_getenv|setenv|setlocale|system|popen|fork|execv\w*|posix_spawn\w*|getpid
  | getrandom|getentropy|rand|random|syscall|signal|sigaction
  | pthread_(create|mutex_\w+|cond_\w+|rwlock_\w+|key_\w+|self|join)|thrd_create|mtx_\w+
  | _ZNSt6thread\w*|_ZNSt18condition_variable\w*|_ZNSt6chrono\w*clock3now\w*
  | _ZNSt13random_device\w*|_ZNSt10filesystem\w*
)$""", re.VERBOSE)
# What parser libraries drag in by their headers alone.
STREAMS = re.compile(r"^(_ZN?K?St\d*basic_[iof]*(fstream|filebuf)\w*|_ZSt4c(out|err|log|in)"
                     r"|_ZN?K?St(1[0-9])?basic_(i|o)?fstream\w*|_ZNSt8ios_base4Init\w*)$")


def undefined(nm, archive):
    listing = subprocess.run([nm, "-A", "--undefined-only", archive], check=True,
                             capture_output=True, text=True).stdout
    for line in listing.splitlines():
        place, _, symbol = line.rpartition(" U ")
        if symbol:
            yield place.strip(), symbol.split("@")[0].strip()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--nm", default="nm")
    parser.add_argument("--streams", action="store_true", help="allow stream classes")
    parser.add_argument("archive", nargs="+")
    options = parser.parse_args()
    failures = 0
    for archive in options.archive:
        symbols = list(undefined(options.nm, archive))
        if not symbols:
            print(f"{archive}: no undefined symbols at all: nm was not understood")
            failures += 1
        for place, symbol in symbols:
            stream = STREAMS.match(symbol) and not options.streams
            if FORBIDDEN.match(symbol) or stream:
                print(f"{place} calls {symbol}: pure code may not")
                failures += 1
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
