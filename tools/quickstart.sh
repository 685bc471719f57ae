#!/bin/bash
# From a bare Debian 12 machine to a cluster that lost a namenode and a datanode and no byte:
#
#   tools/quickstart.sh [DIR]
#
# installs packages, builds, starts three namenodes and three datanodes on this machine, copies /usr/include
# in, kills the leading namenode and a datanode on the way, reads everything back by the command line and by
# the C++ example, compares, stops. DIR (default: a temporary directory) is removed afterwards.
set -euo pipefail
cd "$(dirname "$0")/.."
source_dir=$PWD
tree=${DFS_QUICKSTART_TREE:-/usr/include}

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
# Shows a command as typed, and runs it.
run() {
  printf '$ %s\n' "${*//$dfs/dfs}"
  "$@"
}

say "1. Packages"
tools/install_deps.sh
echo "All there."

say "2. Build (the first time takes some minutes)"
cmake --preset release >/dev/null
cmake --build --preset release -j "$(nproc)" --target dfs dfs-fuse dfs-namenode dfs-datanode dfs_shared dfs_static_archive |
  tail -n 1
dfs=$source_dir/build/release/bin/dfs

work=${1:-$(mktemp -d /tmp/dfs-quickstart-XXXXXX)}
mkdir -p "$work"
# Its own place for sockets and discovery: a cluster that runs already is left alone.
runtime=$(mktemp -d /tmp/dfs-qs-XXXXXX)
export XDG_RUNTIME_DIR=$runtime
finish() {
  ! mountpoint -q "$work/mnt" || "$dfs" umount --lazy "$work/mnt" || true
  "$dfs" dev destroy "$work/cluster" --yes >/dev/null 2>&1 || true
  rmdir "$work/mnt" 2>/dev/null || true
  rm -rf "$runtime" "$work/back" "$work/install" "$work/example"
  rmdir "$work" 2>/dev/null || true
}
trap finish EXIT

say "3. A cluster: three namenodes, three datanodes"
run "$dfs" dev start "$work/cluster" --namenodes 3 --datanodes 3

say "4. Copy $tree in; meanwhile kill the leading namenode, then a datanode"
started=$(date +%s%N)
"$dfs" put -r "$tree" /include &
copy=$!
printf '$ dfs put -r %s /include &\n' "$tree"
# The copy has begun when files arrive.
until [ "$("$dfs" du -s --json / | sed 's/.*"files":\([0-9]*\).*/\1/')" -gt 200 ]; do sleep 0.05; done
run "$dfs" dev kill -v "$work/cluster" leader
until "$dfs" dev status "$work/cluster" --json | grep -q '"leader":true'; do sleep 0.05; done
run "$dfs" dev kill -v "$work/cluster" datanode-2
if kill -0 "$copy" 2>/dev/null; then during="while it ran"; else during="though it had ended by then"; fi
wait "$copy"
echo "The copy ended well after $((($(date +%s%N) - started) / 1000000)) ms, both kills $during."

say "5. Read it back and compare"
run "$dfs" get -r /include "$work/back"
diff -r --no-dereference "$tree" "$work/back"
echo "diff -r finds no difference: $("$dfs" du -s --json /include |
  sed 's/.*"bytes":\([0-9]*\).*"directories":\([0-9]*\).*"files":\([0-9]*\).*/\3 files, \1 bytes/')"

say "6. The same as a file system: every program of this machine works with it"
mkdir "$work/mnt"
if [ ! -e /dev/fuse ]; then
  echo "Skipped: there is no /dev/fuse here (modprobe fuse; in a container --device /dev/fuse --cap-add SYS_ADMIN)."
elif ! run "$dfs" mount "$work/mnt"; then
  echo "Skipped: this machine does not let us mount."
else
  run diff -r --no-dereference "$tree" "$work/mnt/include"
  run tar cf "$work/mnt/include.tar" -C "$work/mnt" include
  run sh -c "tar tf '$work/mnt/include.tar' | tail -n 1"
  run "$dfs" rm /include.tar
  run "$dfs" umount "$work/mnt"
fi

say "7. The same through the C++ library: docs/examples, built against the installed package"
for component in lib dev; do
  cmake --install build/release --prefix "$work/install" --component "$component" >/dev/null
done
cmake -S docs/examples -B "$work/example" -DCMAKE_PREFIX_PATH="$work/install" \
  -DCMAKE_BUILD_TYPE=Release >/dev/null
cmake --build "$work/example" | tail -n 1
file=$(cd "$tree" && find . -type f -size +64k -print -quit)
file=${file#./}
"$work"/example/dfs_example "$work/cluster" "/include/$file" >"$work/back/.by-example"
cmp "$tree/$file" "$work/back/.by-example"
echo "The example read /include/$file; equal."

say "8. What is left of the cluster goes on; the dead come back"
run "$dfs" dev status "$work/cluster"
run "$dfs" dev start "$work/cluster" | tail -n 5
until "$dfs" status --exit-code >/dev/null; do sleep 0.2; done
run "$dfs" fsck
run "$dfs" dev stop "$work/cluster"
say "Done. Every byte came back."
