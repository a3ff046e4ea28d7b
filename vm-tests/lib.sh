# shellcheck shell=sh
# What cases use to say how they went.

# What a healthy kernel does not write. Read by the host too, for a guest that dies before it looks.
splats='BUG:|WARNING:|Oops|KASAN|UBSAN|lockdep|possible .* locking|general protection|Kernel panic'
# Emulated and beside other work, a binary's tests take ten times what they take on the host.
gtest_seconds=240

now_ms() { awk '{ printf "%d", $1 * 1000 }' /proc/uptime; }

# report TEST pass|fail|skip REASON MS
report() {
  reason=$(printf '%s' "$3" | tr '\n\t' '  ' | tr -d '\000-\037' | sed 's/[\\"]/\\&/g')
  printf '{"test":"%s","result":"%s","reason":"%s","ms":%d}\n' "$1" "$2" "$reason" "$4" |
    tee -a /run/results >/dev/ttyS1
}

# check TEST COMMAND...: status 0 passes, 77 skips; the last line of the output is the reason, of a
# pass what the command wrote to /run/remark.
check() {
  name=$1
  shift
  began=$(now_ms)
  : >/run/remark
  ("$@") >/run/output 2>&1 </dev/null
  status=$?
  cat /run/output
  took=$(($(now_ms) - began))
  case $status in
    0) report "$name" pass "$(cat /run/remark)" "$took" ;;
    77) report "$name" skip "$(tail -n 1 /run/output)" "$took" ;;
    *) report "$name" fail "status $status: $(tail -n 1 /run/output)" "$took" ;;
  esac
}

# gtest NAME BINARY ARGUMENTS...: each test of the binary is one of ours.
gtest() {
  prefix=$1
  shift
  began=$(now_ms)
  timeout -k 5 $gtest_seconds "$@" --gtest_color=no >/run/output 2>&1 </dev/null
  status=$?
  cat /run/output
  : >/run/lines
  awk '
    /^\[ RUN      \]/ { name = $4; text = ""; next }
    name != "" && /^\[       OK \]/ { print "pass", name, took($0), ""; name = ""; next }
    name != "" && /^\[  SKIPPED \]/ { print "skip", name, took($0), text; name = ""; next }
    name != "" && /^\[  FAILED  \]/ { print "fail", name, took($0), text; name = ""; next }
    name != "" && NF { text = text " " $0 }
    END { if (name != "") print "fail", name, 0, "died in it:" text }
    function took(line) { sub(/.*\(/, "", line); sub(/ ms.*/, "", line); return line + 0 }
  ' /run/output >/run/lines
  failed=no
  while read -r result name ms text; do
    [ "$result" = fail ] && failed=yes
    report "$prefix.$name" "$result" "$(printf '%.600s' "$text")" "$ms"
  done </run/lines
  # Status without a failed test: it never came to its tests, or died after them.
  if [ "$status" -ne 0 ] && [ $failed = no ]; then
    report "$prefix" fail "status $status: $(tail -n 1 /run/output)" $(($(now_ms) - began))
  elif [ ! -s /run/lines ]; then
    report "$prefix" fail "ran no test" $(($(now_ms) - began))
  fi
}
