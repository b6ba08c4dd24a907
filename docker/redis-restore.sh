#!/bin/sh
# Puts a backup of Redis in the place of its data. Redis must be stopped.
#
#   redis-restore.sh BACKUP DATA
#
# BACKUP: the directory that redis-backup.sh made, or a snapshot (dump.rdb). DATA: Redis's directory. What was there stands
# beside it afterwards, as DATA/appendonlydir.old and DATA/dump.rdb.old. The backup is loaded beside DATA's files, by a
# Redis that nobody else can reach, and written anew, so that a torn last command is gone from it, and a snapshot is in it.
# Only what was loaded and written whole is moved into its place: until then DATA's files are as they were.
# Source: docs/REDIS-BACKUP.md.
set -eu
backup=${1:?usage: redis-restore.sh BACKUP DATA}
data=$(cd "${2:?usage: redis-restore.sh BACKUP DATA}" && pwd)

fail() {
  echo "redis-restore: $*" >&2
  exit 1
}

if [ -f "$backup" ]; then
  loads_file=no
else
  loads_file=yes
  set -- "$backup"/appendonlydir/*.manifest
  [ -f "$1" ] || fail "$backup is no snapshot, and no directory that redis-backup.sh made"
fi
for old in appendonlydir.old dump.rdb.old; do
  [ ! -e "$data/$old" ] || fail "$data/$old is there from an earlier restore: once the mail is seen to be there, remove it"
done
for file in "$data"/appendonlydir/*.incr.aof; do
  for opened in /proc/[0-9]*/fd/*; do
    [ ! "$opened" -ef "$file" ] || fail "$file is open: stop Redis first"
  done
done

# The Redis below has no password: only who owns its socket reaches it.
unset REDISCLI_AUTH
new=$data/restore.new
private=$(mktemp -d)
socket=$private/redis.sock
server=
undo() {
  trap '' HUP INT TERM
  [ -z "$server" ] || { kill -9 "$server" && wait "$server"; } 2>/dev/null || true
  rm -rf "$new" "$private"
}
trap undo EXIT
trap 'exit 1' HUP INT TERM

rm -rf "$new"
mkdir "$new"
if [ "$loads_file" = yes ]; then cp -a "$backup/appendonlydir" "$new/appendonlydir"; else cp "$backup" "$new/dump.rdb"; fi
redis-server --dir "$new" --port 0 --unixsocket "$socket" --unixsocketperm 700 --save '' --appendonly "$loads_file" \
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
sync

put_back() {
  for name in appendonlydir dump.rdb; do
    [ ! -e "$data/$name.old" ] || mv "$data/$name.old" "$data/$name"
  done
}
move_in() {
  for name in appendonlydir dump.rdb; do
    [ ! -e "$data/$name" ] || mv "$data/$name" "$data/$name.old" || return 1
  done
  mv "$new/appendonlydir" "$data/appendonlydir"
}
# Nothing may come between these.
trap '' HUP INT TERM
move_in || { put_back; fail "$data can't be written"; }
sync
echo "$data: $keys keys; what was there ends in .old now"
