# shellcheck shell=sh
# Every BPF object passes this kernel's verifier, and at the cost that verifier.txt says.

table=/verifier.txt
series=$(cat /series)

# processed OBJECT: "program instructions" for each, from the verifier's own log.
processed() {
  bpftool -d prog loadall "/tollgate/$1.bpf.o" "/sys/fs/bpf/load_$1" >/run/load 2>&1 || {
    grep -v '^libbpf: prog .*relo' /run/load | tail -n 40
    return 1
  }
  rm -r "/sys/fs/bpf/load_$1"
  awk -F"'" '/BEGIN PROG LOAD LOG/ { program = $2 }
    /^processed [0-9]+ insns/ { split($0, word, " "); print program, word[2] }' /run/load
}

# within_tolerance MEASURED WANTED: compilers differ by some, an explosion of states by more.
within_tolerance() { [ $(($1 * 100)) -le $(($2 * 125)) ] && [ $(($1 * 125)) -ge $(($2 * 100)) ]; }

loads() {
  processed "$1" >/run/programs || { cat /run/programs; return 1; }
  [ -s /run/programs ] || { echo "the verifier said nothing of $1"; return 1; }
  while read -r program insns; do
    echo "$program: $insns instructions verified" | tee -a /run/remark
    wanted=$(awk -v k="$series" -v p="$program" '$1 == k && $2 == p { print $3 }' $table)
    [ -n "$wanted" ] || { echo "add to verifier.txt: $series $program $insns"; return 1; }
    within_tolerance "$insns" "$wanted" || {
      echo "$program: $insns instructions verified, verifier.txt says $wanted (within 25 %)"
      return 1
    }
  done </run/programs
}

for object in /tollgate/*.bpf.o; do
  object=$(basename "$object" .bpf.o)
  check "bpf_load.$object" loads "$object"
done
gtest bpf_load /tollgate/steer_program_test
