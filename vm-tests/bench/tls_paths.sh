# shellcheck shell=sh
# What kTLS costs the gateway's thread on this kernel against userspace: tests/bench/tls. The table
# is told as it is; nothing is asserted of it.
measured() {
  {
    /tollgate/bench_tls_paths || rm -f /run/measured
  } | tee /dev/ttyS1
  [ -e /run/measured ]
}
touch /run/measured
modprobe tls
check bench.tls_paths measured
