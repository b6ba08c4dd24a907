#!/bin/sh
# Copies Redis's append-only file while mail flows.
#
#   redis-backup.sh DIRECTORY [options of redis-cli, as -s SOCKET or -p PORT]
#
# Runs where Redis's files are; DIRECTORY is made. The password comes from REDISCLI_AUTH, or from the container's secret.
# Source: docs/REDIS-BACKUP.md.
set -eu
to=${1:?usage: redis-backup.sh DIRECTORY [options of redis-cli]}
shift

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
[ -d "$data" ] || { echo "redis-backup: $data is not here: run this where Redis's files are" >&2; exit 1; }
mkdir "$to"

# No rewrite may change the set of files meanwhile.
trap 'redis-cli -e "$@" CONFIG SET auto-aof-rewrite-percentage "$was" </dev/null >/dev/null' EXIT
trap 'exit 1' HUP INT TERM
redis-cli -e "$@" CONFIG SET auto-aof-rewrite-percentage 0 </dev/null >/dev/null
while :; do
  state=$(redis-cli -e "$@" INFO persistence </dev/null)
  case $state in
    *aof_enabled:0*) echo "redis-backup: this Redis has no append-only file" >&2; exit 1 ;;
    *aof_rewrite_in_progress:1* | *aof_rewrite_scheduled:1*) sleep 1 ;;
    *) break ;;
  esac
done
cp -a "$data" "$to/appendonlydir"
# Somebody may have asked for a rewrite all the same.
if ! cmp -s "$data"/*.manifest "$to"/appendonlydir/*.manifest; then
  echo "redis-backup: Redis rewrote its file meanwhile, and $to is no backup: take another" >&2
  exit 1
fi
sync
echo "$to: $(du -sk "$to" | cut -f 1) KB"
