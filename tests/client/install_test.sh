#!/bin/bash
# The installed package, used from outside the tree: cmake --install, find_package(dfs), pkg-config, the
# example against a development cluster, and that the headers and symbols show nothing of what is inside.
#
#   install_test.sh SOURCE_DIR BUILD_DIR CXX_COMPILER
set -euo pipefail
source_dir=$1
build_dir=$2
cxx=$3
work=$(mktemp -d /tmp/dfs-install-XXXXXX)
export XDG_RUNTIME_DIR=$work/run
mkdir -m 700 "$work/run"
dfs=$build_dir/bin/dfs
finish() {
  [ -d "$work/cluster" ] && "$dfs" dev destroy "$work/cluster" --yes >/dev/null 2>&1
  rm -rf "$work"
}
trap finish EXIT
fail() { echo "FAILED: $*" >&2; exit 1; }

for component in lib dev; do
  cmake --install "$build_dir" --prefix "$work/prefix" --component "$component" >/dev/null
done
libdir=$(dirname "$(find "$work/prefix" -name libdfs.a)")
[ -e "$libdir/libdfs.so.1" ] || fail "no libdfs.so.1"

echo "-- the public headers include nothing but themselves and the standard library"
if grep -rnE '#include *[<"](boost|thrift|rocksdb|fmt|spdlog|xxhash|openssl|nlohmann|common/)' "$work/prefix/include"; then
  fail "a public header includes what it must not"
fi

echo "-- the shared library exports the API only"
nm -DC --defined-only "$libdir/libdfs.so.1" >"$work/exported"
grep -q 'dfs::v1::Client::connect' "$work/exported" || fail "Client::connect is not exported"
if grep -E ' (apache::|rocksdb::|boost::|dfs::(rpc|client|wire|idl)::)' "$work/exported"; then
  fail "internals are exported"
fi

echo "-- find_package(dfs)"
cmake -S "$source_dir/docs/examples" -B "$work/example" -DCMAKE_PREFIX_PATH="$work/prefix" \
  -DCMAKE_CXX_COMPILER="$cxx" >"$work/log" 2>&1 || { cat "$work/log"; fail "configure"; }
cmake --build "$work/example" >"$work/log" 2>&1 || { cat "$work/log"; fail "build"; }

echo "-- pkg-config"
export PKG_CONFIG_PATH=$libdir/pkgconfig
"$cxx" -std=c++20 $(pkg-config --cflags dfs) "$source_dir/docs/examples/hello.cc" \
  -o "$work/by_pkg_config" $(pkg-config --libs dfs) -Wl,-rpath,"$libdir"
"$cxx" -std=c++20 $(pkg-config --cflags dfs) "$source_dir/docs/examples/hello.cc" \
  -o "$work/by_pkg_config_static" -L"$libdir" -l:libdfs.a $(pkg-config --libs --static dfs | sed 's/-ldfs//')

echo "-- without a cluster the example says so"
if DFS_NAMENODES=127.0.0.1:1 timeout 300 "$work/example/dfs_example" >"$work/out" 2>&1; then
  fail "connected to nothing"
fi
grep -q 'connect: ' "$work/out" || fail "no clear message: $(cat "$work/out")"

if [ ! -x "$dfs" ] || [ ! -x "$build_dir/bin/dfs-namenode" ] || [ ! -x "$build_dir/bin/dfs-datanode" ]; then
  echo "SKIPPED: the programs are not built"
  exit 77
fi

echo "-- against a cluster"
"$dfs" dev start "$work/cluster" --namenodes 1 --datanodes 3 >/dev/null
for program in "$work/example/dfs_example" "$work/example/dfs_example_static" "$work/by_pkg_config" \
  "$work/by_pkg_config_static"; do
  timeout 300 "$program" >"$work/out" || fail "$program"
  grep -q 'read back:   hello, world' "$work/out" || fail "$program did not read back"
  grep -q 'overwritten: Z' "$work/out" || fail "$program did not overwrite"
  grep -q 'on 3 datanodes' "$work/out" || fail "$program found no replicas"
done
head -c 3000000 /dev/urandom >"$work/data"
"$dfs" put "$work/data" /data
timeout 300 "$work/example/dfs_example" "$work/cluster" /data >"$work/back"
cmp "$work/data" "$work/back" || fail "what was put is not what the example reads"
echo "OK"
