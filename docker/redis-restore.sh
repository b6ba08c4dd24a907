#!/bin/sh
# Puts a backup of Redis in the place of its data. Redis must be stopped.
#
#   redis-restore.sh BACKUP DATA
#
# BACKUP: the directory that redis-backup.sh made, or a snapshot (dump.rdb). DATA: Redis's directory. What was there stands
# beside it afterwards, as DATA/appendonlydir.old and DATA/dump.rdb.old. A Redis that nobody else can reach loads the backup and writes the file anew, so that a
# torn last command is gone from it, and a snapshot is in it. If anything fails, DATA is as it was.
# Source: docs/REDIS-BACKUP.md.
set -eu
backup=${1:?usage: redis-restore.sh BACKUP DATA}
data=$(cd "${2:?usage: redis-restore.sh BACKUP DATA}" && pwd)

fail() {
  echo "redis-restore: $*" >&2
  exit 1
}

is_ours=no
if [ -f "$backup" ]; then
  loads_file=no
elif [ -d "$backup/appendonlydir" ]; then
  loads_file=yes
else
  fail "$backup is no snapshot, and no directory that redis-backup.sh made"
fi
for old in appendonlydir.old dump.rdb.old; do
  [ ! -e "$data/$old" ] || fail "$data/$old is there from an earlier restore: remove it first"
done

# The Redis below has no password: only who owns its socket reaches it.
unset REDISCLI_AUTH
private=$(mktemp -d)
socket=$private/redis.sock
server=
undo() {
  [ -z "$server" ] || { kill -9 "$server" && wait "$server"; } 2>/dev/null || true
  if [ "$is_ours" = yes ]; then
    rm -rf "$data/appendonlydir" "$data/dump.rdb"
    for name in appendonlydir dump.rdb; do
      [ ! -e "$data/$name.old" ] || mv "$data/$name.old" "$data/$name"
    done
  fi
  rm -rf "$private"
}
trap undo EXIT
trap 'exit 1' HUP INT TERM

is_ours=yes
for name in appendonlydir dump.rdb; do
  [ ! -e "$data/$name" ] || mv "$data/$name" "$data/$name.old"
done
if [ "$loads_file" = yes ]; then cp -a "$backup/appendonlydir" "$data/appendonlydir"; else cp "$backup" "$data/dump.rdb"; fi

redis-server --dir "$data" --port 0 --unixsocket "$socket" --unixsocketperm 700 --save '' --appendonly "$loads_file" \
  --logfile "$private/log" </dev/null &
server=$!
cli() {
  redis-cli -e -s "$socket" "$@" </dev/null
}
until cli PING 2>/dev/null | grep -q PONG; do
  kill -0 "$server" 2>/dev/null || { cat "$private/log" >&2; fail "Redis can't load $backup"; }
  sleep 0.2
done
if [ "$loads_file" = yes ]; then cli BGREWRITEAOF; else cli CONFIG SET appendonly yes; fi >/dev/null
while :; do
  state=$(cli INFO persistence)
  case $state in
    *aof_rewrite_in_progress:1* | *aof_rewrite_scheduled:1*) sleep 0.2 ;;
    *aof_enabled:1*aof_last_bgrewrite_status:ok*) break ;;
    *) cat "$private/log" >&2; fail "Redis can't write its file anew" ;;
  esac
done
keys=$(cli DBSIZE)
cli SHUTDOWN NOSAVE
wait "$server"
server=
# With the append-only file it is not read any more.
[ "$loads_file" = yes ] || rm "$data/dump.rdb"
sync
is_ours=no
echo "$data: $keys keys; what was there ends in .old now"
