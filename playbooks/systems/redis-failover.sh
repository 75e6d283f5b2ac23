#!/bin/sh
# Runs one Redis server and stands in for what would promote it: the first of the nodes that answers
# is the primary, all others copy from it. Usage: redis-failover.sh OWN_ADDRESS PORT "ADDRESSES"
own=$1 port=$2 all=$3
redis-server --bind "$own" --port "$port" --protected-mode no --dir /var/lib/ordeal/redis \
    --save "" --appendonly no --repl-diskless-sync yes --repl-diskless-sync-delay 0 &
server=$!
following=unknown
while kill -0 "$server" 2>/dev/null; do
    sleep 0.3
    primary=
    for address in $all; do
        if [ "$(timeout 1 redis-cli -h "$address" -p "$port" ping 2>/dev/null)" = PONG ]; then
            primary=$address
            break
        fi
    done
    if [ -n "$primary" ] && [ "$primary" != "$following" ]; then
        if [ "$primary" = "$own" ]; then
            redis-cli -h "$own" -p "$port" replicaof no one
        else
            redis-cli -h "$own" -p "$port" replicaof "$primary" "$port"
        fi
        following=$primary
    fi
done
