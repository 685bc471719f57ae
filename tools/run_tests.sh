#!/bin/bash
# Installs what is missing, builds and runs the tests, and says what was skipped.
#
#   tools/run_tests.sh                    release, every test
#   tools/run_tests.sh --all              what CI runs: release with every test; unit and simulation
#                                         tests under ASan and UBSan; unit tests under TSan
#   tools/run_tests.sh --preset asan --labels 'unit|sim'
#   tools/run_tests.sh --jobs 4 --tests 'raft.*'
#
# A test that skips itself must be named in tests/allowed_skips.txt with the reason; any other skip is
# a failure. Exit code: 0 when everything passed.
set -u -o pipefail
cd "$(dirname "$0")/.."

jobs=$(nproc)
preset=release
labels=""
tests=""
all=0
while [ $# -gt 0 ]; do
  case "$1" in
    --all) all=1 ;;
    --preset) preset=$2; shift ;;
    --labels) labels=$2; shift ;;
    --tests) tests=$2; shift ;;
    --jobs) jobs=$2; shift ;;
    --help | -h) sed -n '2,12s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "run_tests.sh: unknown option $1 (see --help)" >&2; exit 2 ;;
  esac
  shift
done

# The sanitizers of GCC 12 cannot map their shadow when the kernel randomises addresses widely.
run_with_narrow_addresses() {
  if setarch "$(uname -m)" -R true 2>/dev/null; then
    setarch "$(uname -m)" -R "$@"
    return
  fi
  local bits=/proc/sys/vm/mmap_rnd_bits
  if [ -w $bits ] && [ "$(cat $bits)" -gt 28 ]; then echo 28 >$bits; fi
  "$@"
}

# Names of the tests that skipped themselves: GoogleTest's own, and whole ctest entries.
skipped_in() {
  local log=$1/Testing/Temporary/LastTest.log output=$1/ctest_output.txt
  {
    sed -n 's/^\[  SKIPPED \] \([A-Za-z0-9_/]*\.[A-Za-z0-9_/]*\).*/\1/p' "$log"
    sed -n 's/.*Test *#[0-9]*: \([^ ]*\) .*\*\*\*Skipped.*/\1/p' "$output"
  } 2>/dev/null | sort -u
}

failed=0
summary=""
closing=""

# run_preset PRESET LABELS: build what those labels need, then ctest.
run_preset() {
  local preset=$1 labels=$2 dir=build/$1 started=$SECONDS
  echo "=== $preset${labels:+, labels $labels}: building"
  cmake --preset "$preset" >"/tmp/dfs-cmake.$$" 2>&1 || {
    cat "/tmp/dfs-cmake.$$"; rm -f "/tmp/dfs-cmake.$$"
    failed=1; summary="$summary$preset: cmake failed"$'\n'
    return
  }
  rm -f "/tmp/dfs-cmake.$$"
  local targets=all label
  if [ -n "$labels" ]; then
    targets=""
    for label in ${labels//|/ }; do targets="$targets dfs_tests_$label"; done
  fi
  if ! cmake --build "$dir" -j "$jobs" --target $targets; then
    failed=1; summary="$summary$preset: build failed"$'\n'
    return
  fi
  echo "=== $preset: testing (built in $((SECONDS - started)) s)"
  local log="$dir/ctest_output.txt" wrapper=""
  case "$preset" in asan | tsan) wrapper=run_with_narrow_addresses ;; esac
  export ASAN_OPTIONS="${ASAN_OPTIONS:-detect_leaks=1:abort_on_error=0}"
  export UBSAN_OPTIONS="${UBSAN_OPTIONS:-print_stacktrace=1}"
  local suppressions="$PWD/tests/tsan_suppressions.txt"
  export TSAN_OPTIONS="${TSAN_OPTIONS:-halt_on_error=1:second_deadlock_stack=1:suppressions=$suppressions}"
  $wrapper ctest --test-dir "$dir" --output-on-failure --no-tests=error -j "$jobs" \
    ${labels:+-L "^($labels)$"} ${tests:+-R "$tests"} 2>&1 | tee "$log"
  [ "${PIPESTATUS[0]}" = 0 ] || failed=1
  closing="$(sed -n '/tests passed, .* tests failed out of/,$p' "$log")"
  closings="$closings"$'\n'"--- $preset${labels:+, labels $labels}"$'\n'"$closing"$'\n'
  summary="$summary$preset${labels:+ ($labels)}: $(grep 'tests passed' "$log" || echo 'no result')"$'\n'

  local name
  for name in $(skipped_in "$dir"); do
    if grep -q "^$name[[:space:]]" tests/allowed_skips.txt; then
      echo "skipped: $name ($(sed -n "s|^$name[[:space:]]*||p" tests/allowed_skips.txt | head -1))"
    else
      echo "skipped: $name - NOT on the list of allowed skips (tests/allowed_skips.txt)"
      summary="$summary$preset: $name skipped without leave"$'\n'
      failed=1
    fi
  done
}

tools/install_deps.sh --tests || exit 1

closings=""
if [ $all = 1 ]; then
  run_preset release ""
  release_closing=$closing
  run_preset asan 'unit|sim'
  run_preset tsan unit
  closings="$closings"$'\n'"--- release, every test"$'\n'"$release_closing"$'\n'
else
  run_preset "$preset" "$labels"
fi

echo
echo "=== Summary ($SECONDS s)"
printf '%s' "$summary"
printf '%s' "$closings"
exit $failed
