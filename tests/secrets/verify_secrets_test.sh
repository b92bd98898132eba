#!/bin/bash
# `minicore verify --secrets` on the command line: what it says, and its exit status.
set -u
tool=$1
cd "$TEST_TMPDIR"
tool=$OLDPWD/$tool
failed=0
expect() {  # STATUS WHAT: of the last command
  if [ "$status" != "$1" ]; then
    echo "expected $1, got $status: $2"; cat output; failed=1
  fi
}
run() { "$@" > output 2>&1; status=$?; }

# A core of one segment at 0x10000: what standard input has, 120 bytes into the file.
core_of() {
  printf '\177ELF\2\1\1\0\0\0\0\0\0\0\0\0\4\0\76\0\1\0\0\0\0\0\0\0\0\0\0\0'
  printf '\100\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\100\0\70\0\1\0\0\0\0\0\0\0'
  printf '\1\0\0\0\6\0\0\0\170\0\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0'
  printf '\377\0\0\0\0\0\0\0\377\0\0\0\0\0\0\0\20\0\0\0\0\0\0\0'
  cat
}

printf 'some bytes, correct-horse-battery, others' | tee plain | core_of > file
printf 'correct-horse-battery\n' > patterns
printf 'another-token-altogether\n' > other

run "$tool" verify --secrets patterns file
expect 1 "a pattern that occurs"
grep -q "line 1 occurs as it is: 21 bytes at offset 132, address 0x1000c" output || { cat output; failed=1; }
grep -q horse output && { echo "it shows the secret"; failed=1; }
run "$tool" verify --secrets - file < patterns
expect 1 "patterns from standard input"
run "$tool" verify --json --secrets patterns file
expect 1 "as JSON"
grep -q '"clean": false' output || { cat output; failed=1; }
grep -q '"address": "0x1000c"' output || { cat output; failed=1; }
printf 'hex:%s\n' "$(printf 'correct-horse-battery' | od -An -tx1 | tr -d ' \n')" > hex
run "$tool" verify --secrets hex file
expect 1 "a pattern in hexadecimal"
printf 'correct-horse-battery' | base64 | core_of > encoded
run "$tool" verify --secrets patterns encoded
expect 1 "a file in base64"
printf 'a%s' correct-horse-battery | base64 | core_of > encoded
run "$tool" verify --secrets patterns encoded
expect 1 "base64 from another byte on"
printf 'correct-horse-battery' | iconv -t UTF-16LE | core_of > encoded
run "$tool" verify --secrets patterns encoded
expect 1 "a file in UTF-16"
run "$tool" verify --secrets other file
expect 0 "a pattern that does not occur"
run "$tool" verify --secrets absent file
expect 2 "no file of patterns"
grep -qx 'absent cannot be opened: No such file or directory.' output || { cat output; failed=1; }
run "$tool" verify --secrets patterns absent
expect 2 "no core"
grep -qx 'absent cannot be opened: No such file or directory.' output || { cat output; failed=1; }
run "$tool" verify --secrets patterns plain
expect 2 "a file that is no core, and holds the secret"
grep -qx 'plain is not an ELF file.' output || { cat output; failed=1; }
run "$tool" verify --secrets other plain
expect 2 "a file that is no core, and does not hold the secret"
head -c 64 file > stump
run "$tool" verify --secrets other stump
expect 2 "a core that ends behind its header"
printf 'hex:zz\n' > digits
run "$tool" verify --secrets digits file
expect 2 "no hexadecimal digits"
grep -q 'Line 1 must have pairs of hexadecimal digits' output || { cat output; failed=1; }
run "$tool" verify --secrets - file < /dev/null
expect 2 "no patterns"
printf 'x\n' > short
run "$tool" verify --secrets short file
expect 2 "a pattern too short"
exit $failed
