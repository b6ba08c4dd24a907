#!/bin/sh
# Starts Redis with docker/redis.conf and the password of the secret, which shows in no list of processes.
set -eu
{
  cat /etc/postmq/redis.conf
  printf 'requirepass %s\n' "$(cat /run/secrets/redis_password)"
} | exec redis-server -
