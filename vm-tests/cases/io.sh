# shellcheck shell=sh
# The event loop on this kernel's io_uring, and on poll: tests/unit/io.
gtest io /tollgate/io_test
