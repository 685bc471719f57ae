#!/bin/sh
# Installs what building and testing need on Debian 12. The list of packages is here and nowhere else.
#   tools/install_deps.sh            installs what is missing (sudo when not root)
#   tools/install_deps.sh --tests    what the tests run besides: programs on the mount, a browser
#   tools/install_deps.sh --list     prints the list
set -eu

PACKAGES="
g++ cmake ninja-build ccache mold pkg-config git ca-certificates
thrift-compiler libthrift-dev libboost-dev
librocksdb-dev libxxhash-dev libssl-dev
libfuse3-dev fuse3
libgtest-dev libgmock-dev
libcli11-dev libspdlog-dev libfmt-dev nlohmann-json3-dev libtomlplusplus-dev
python3 python3-thrift procps util-linux
"
TEST_PACKAGES="make tar rsync sqlite3 fio chromium"

if [ "${1:-}" = "--tests" ]; then PACKAGES="$PACKAGES $TEST_PACKAGES"; fi
if [ "${1:-}" = "--list" ]; then
  echo $PACKAGES | tr ' ' '\n'
  exit 0
fi

missing=""
for package in $PACKAGES; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q '^install ok installed$' ||
    missing="$missing $package"
done
[ -n "$missing" ] || exit 0

sudo=""
if [ "$(id -u)" != 0 ]; then
  sudo="sudo"
  command -v sudo >/dev/null || {
    echo "install_deps.sh: these packages are missing and need root to install:$missing" >&2
    exit 1
  }
fi

echo "Installing:$missing" >&2
for try in 1 2 3; do
  if $sudo apt-get update -q &&
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing; then
    exit 0
  fi
  echo "install_deps.sh: try $try failed" >&2
  sleep $((try * 5))
done
echo "install_deps.sh: cannot install:$missing" >&2
exit 1
