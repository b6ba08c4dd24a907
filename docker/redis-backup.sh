#!/bin/sh
# Copies Redis's append-only file while mail flows.
#
#   redis-backup.sh DIRECTORY [options of redis-cli, as -s SOCKET or -p PORT]
#
# Runs where Redis's files are; DIRECTORY is made, and taken away again if anything fails. The password comes from
# REDISCLI_AUTH, or from the container's secret. Source: docs/REDIS-BACKUP.md.
set -eu
to=${1:?usage: redis-backup.sh DIRECTORY [options of redis-cli]}
shift

fail() {
  echo "redis-backup: $*" >&2
  exit 1
}

for secret in /run/secrets/redis_password /run/secrets/postmq/redis-password; do
  if [ -z "${REDISCLI_AUTH:-}" ] && [ -r "$secret" ]; then
    REDISCLI_AUTH=$(cat "$secret")
    export REDISCLI_AUTH
  fi
done

was=$(redis-cli -e "$@" CONFIG GET auto-aof-rewrite-percentage </dev/null)
was=$(echo "$was" | tail -n 1)
dir=$(redis-cli -e "$@" CONFIG GET dir </dev/null)
name=$(redis-cli -e "$@" CONFIG GET appenddirname </dev/null)
data=$(echo "$dir" | tail -n 1)/$(echo "$name" | tail -n 1)
[ -d "$data" ] || fail "$data is not here: run this where Redis's files are"
# Set back to 0 it would stay 0, and the file would grow until the disk is full.
[ "$was" != 0 ] || fail "auto-aof-rewrite-percentage is 0: another backup is under way, or one was killed (CONFIG SET it to 100)"
mkdir "$to"

is_done=no
undo() {
  trap '' HUP INT TERM
  redis-cli -e "$@" CONFIG SET auto-aof-rewrite-percentage "$was" </dev/null >/dev/null ||
    echo "redis-backup: auto-aof-rewrite-percentage may still be 0: CONFIG SET it to $was" >&2
  [ "$is_done" = yes ] || rm -rf "$to"
}
trap 'undo "$@"' EXIT
trap 'exit 1' HUP INT TERM
# No rewrite may change the set of files meanwhile.
redis-cli -e "$@" CONFIG SET auto-aof-rewrite-percentage 0 </dev/null >/dev/null
while :; do
  state=$(redis-cli -e "$@" INFO persistence </dev/null)
  case $state in
    *aof_enabled:0*) fail "this Redis has no append-only file" ;;
    *aof_rewrite_in_progress:1* | *aof_rewrite_scheduled:1*) sleep 1 ;;
    *) break ;;
  esac
done
cp -a "$data" "$to/appendonlydir"
# Somebody may have asked for a rewrite all the same.
cmp -s "$data"/*.manifest "$to"/appendonlydir/*.manifest || fail "Redis rewrote its file meanwhile: take another"
sync
is_done=yes
echo "$to: $(du -sk "$to" | cut -f 1) KB"
