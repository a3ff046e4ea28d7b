# shellcheck shell=sh
# What kTLS costs the gateway's thread on this kernel against userspace: tests/bench/tls. The table
# is told as it is; nothing is asserted of it.
measured() {
  /tollgate/bench_tls_paths >/run/table || return 1
  cat /run/table >/dev/ttyS1
}
modprobe tls
check bench.tls_paths measured
