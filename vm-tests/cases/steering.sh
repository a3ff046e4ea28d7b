# shellcheck shell=sh
# Steering and identity by real TCP over veth: tests/unit/kernel on this kernel.
gtest steering /tollgate/steering_test
