# shellcheck shell=sh
# Steering, identity and interception by real packets over veth: tests/unit/kernel here.
gtest steering /tollgate/steering_test
gtest interception /tollgate/interception_test
