# shellcheck shell=sh
# The record layer in this kernel: what the probe finds, and the keys.
modprobe tls
gtest ktls /tollgate/tls_test
