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
grep -qx 'minicore: absent cannot be opened: No such file or directory.' output || { cat output; failed=1; }
run "$tool" verify --secrets patterns absent
expect 2 "no core"
grep -qx 'minicore: absent cannot be opened: No such file or directory.' output || { cat output; failed=1; }
run "$tool" verify --secrets patterns plain
expect 2 "a file that is no core, and holds the secret"
grep -qx 'minicore: plain is not an ELF file.' output || { cat output; failed=1; }
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
# What could not be read whole was not looked for.
run "$tool" verify --secrets "" file
expect 2 "no name of a file of patterns"
grep -qx 'minicore: "" cannot be opened: No such file or directory.' output || { cat output; failed=1; }
run "$tool" verify --secrets . file
expect 2 "a directory of patterns"
grep -qx 'minicore: . cannot be read: Is a directory.' output || { cat output; failed=1; }
run "$tool" verify --secrets /dev/zero file
expect 2 "patterns without end"
grep -q 'minicore: /dev/zero has more than 67.1 MB of patterns.' output || { cat output; failed=1; }
printf 'x\n' > short
run "$tool" verify --secrets short file
expect 2 "a pattern too short"
# A part of a pattern is told from all of it.
printf '%s' 'batteries: correct-horse-battery-st' | core_of > partial
printf 'correct-horse-battery-staple\n' > long
run "$tool" verify --secrets long partial
expect 1 "a part of a pattern"
grep -q 'line 1 occurs in part, as it is: 24 of its 28 bytes at offset 131, address 0x1000b' output ||
  { cat output; failed=1; }
# A core that ends before its headers say so has been searched as far as it goes.
run "$tool" verify --secrets other file
grep -qx 'Remark: The file is cut short: of 375 bytes it has 161.' output || { cat output; failed=1; }
# Holes of a sparse file are zeros, and any size is read in the memory of a piece.
cp file sparse
truncate -s 3G sparse
printf 'and correct-horse-battery' >> sparse
memory=200000
(ulimit -v $memory && "$tool" --version) > output 2>&1 || memory=unlimited  # a sanitizer's shadow
sparse() { (ulimit -v $memory; exec "$tool" verify --secrets "$1" sparse); }
run sparse patterns
expect 1 "three sparse gigabytes"
[ "$(grep -c 'occurs as it is' output)" -eq 2 ] || { cat output; failed=1; }
grep -q 'at offset 3221225476' output || { cat output; failed=1; }
run sparse other
expect 0 "three sparse gigabytes without the pattern"
rm sparse
exit $failed
