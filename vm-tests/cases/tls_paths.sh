# shellcheck shell=sh
# What a stream makes of a raw TLS peer, on each record path that this kernel has: tests/unit/proxy.
# Megabytes and hundreds of handshakes, emulated.
gtest_seconds=900
modprobe tls
gtest tls_paths /tollgate/stream_tls_test
