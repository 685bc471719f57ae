#!/bin/sh
# Runs a program of the image. A namenode without data is formatted first: once, when the volume is new.
#   dfs-entrypoint namenode|datanode [--section.key=value ...]     or any command
set -eu
case "${1:-}" in
  namenode)
    shift
    directory=/var/lib/dfs/namenode
    [ -e "$directory" ] || dfs-namenode --storage.directory="$directory" "$@" --format
    exec dfs-namenode --storage.directory="$directory" "$@"
    ;;
  datanode)
    shift
    mkdir -p /var/lib/dfs/volume
    exec dfs-datanode --storage.volumes=/var/lib/dfs/volume "$@"
    ;;
  *)
    exec "$@"
    ;;
esac
