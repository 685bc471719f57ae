#!/bin/bash
# Installs the Debian packages in a fresh Debian 12, made by debootstrap, and runs a cluster there from what they
# installed: one namenode and one datanode with the packages' sample configurations, as the user dfs, and the
# client over TCP with the key. Needs root, the network, debootstrap, and packages made by cpack.
#
#   tools/test_packages.sh [--packages DIR]     # build/release/packages
set -euo pipefail
cd "$(dirname "$0")/.."
packages=build/release/packages
while [ $# -gt 0 ]; do
  case "$1" in
    --packages) packages=$2; shift ;;
    *) sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 2 ;;
  esac
  shift
done
ls "$packages"/*.deb >/dev/null
root=$(mktemp -d /tmp/dfs-packages-XXXXXX)
chmod 755 "$root"  # users in it need not own it
daemons=()
finish() {
  for pid in "${daemons[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait
  mountpoint -q "$root/proc" && umount "$root/proc"
  rm -rf --one-file-system "$root"
}
trap finish EXIT

debootstrap --variant=minbase bookworm "$root" >/dev/null
mount -t proc proc "$root/proc"
in_root() { chroot "$root" env DEBIAN_FRONTEND=noninteractive LC_ALL=C "$@"; }
mkdir -p "$root/packages"
cp "$packages"/*.deb "$root/packages/"
echo "-- install"
in_root apt-get update -q >/dev/null
in_root sh -c 'apt-get install -q -y --no-install-recommends /packages/*.deb' >"$root/apt.log" 2>&1 || {
  tail -30 "$root/apt.log"; exit 1
}
in_root getent passwd dfs >/dev/null
in_root dfs --version
in_root sh -c 'ls -l /usr/sbin/mount.dfs /lib/systemd/system/dfs-namenode.service /usr/include/dfs/client.h' >/dev/null
in_root sh -c '! ldd /usr/bin/dfs /usr/bin/dfs-fuse /usr/bin/dfs-namenode /usr/bin/dfs-datanode | grep "not found"'

echo "-- configure, as docs/operations.md says"
in_root dfs keygen /etc/dfs/cluster.key
in_root chown dfs:dfs /etc/dfs/cluster.key
in_root cp /usr/share/doc/dfs-server/examples/namenode.toml /usr/share/doc/dfs-server/examples/datanode.toml /etc/dfs/
id=$(cat /proc/sys/kernel/random/uuid)
port=$((20000 + RANDOM % 10000))
common=(--cluster.id="$id" --cluster.key_file=/etc/dfs/cluster.key --listen.http=)
namenode=(/usr/bin/dfs-namenode --config /etc/dfs/namenode.toml "${common[@]}" --node.id=1
          --storage.directory=/var/lib/dfs/namenode --listen.client="127.0.0.1:$port" --listen.raft="127.0.0.1:$((port + 1))"
          --namespace.default_replication=1)
as_dfs() { in_root setpriv --reuid=dfs --regid=dfs --clear-groups "$@"; }
# In the background: its pid is the daemon's own.
daemon() { exec chroot "$root" setpriv --reuid=dfs --regid=dfs --clear-groups "$@"; }
as_dfs "${namenode[@]}" --format

echo "-- start"
in_root mkdir -p /var/lib/dfs/volume
in_root chown dfs:dfs /var/lib/dfs/volume
daemon "${namenode[@]}" >"$root/namenode.log" 2>&1 & daemons+=($!)
daemon /usr/bin/dfs-datanode --config /etc/dfs/datanode.toml "${common[@]}" --storage.volumes=/var/lib/dfs/volume \
  --listen.block=127.0.0.1:$((port + 2)) --namenodes.addresses=127.0.0.1:$port >"$root/datanode.log" 2>&1 &
daemons+=($!)
client() { in_root dfs "$1" --namenodes 127.0.0.1:$port --key-file /etc/dfs/cluster.key "${@:2}"; }
head -c 5000000 /dev/urandom >"$root/data"
client put /data /data || { tail -n 15 "$root"/*.log; exit 1; }
client get /data /back
cmp "$root/data" "$root/back"
client status

echo "-- remove: data and configuration stay"
for pid in "${daemons[@]}"; do kill "$pid"; done
wait
daemons=()
in_root apt-get purge -q -y dfs-server >/dev/null 2>&1
in_root test -e /var/lib/dfs/namenode -a -e /etc/dfs/cluster.key
echo "packages work"
