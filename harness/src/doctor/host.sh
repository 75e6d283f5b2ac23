# Looks at a host from inside, as root. Each line of output is `SUBJECT|GRADE|FOUND|MEND`; a fault is
# tried in namespaces of its own where it can be, so that there is nothing to undo.
set -u

say() { echo "$1|$2|$3|${4-}"; }

tool() { # TOOL PACKAGE
    if path=$(command -v "$1"); then
        return 0
    fi
    say "$1" bad "not installed" "apt-get install -y --no-install-recommends $2"
    return 1
}

try() { # SUBJECT GRADE MEND COMMAND...
    subject=$1
    grade=$2
    mend=$3
    shift 3
    if said=$("$@" 2>&1); then
        say "$subject" good "tried and undone"
    else
        said=$(printf %s "$said" | head -n 1 | tr '|' ' ')
        say "$subject" "$grade" "${said:-it failed}" "$mend"
    fi
}

apart() { unshare --net --mount sh -c "$1"; }

missing=
for pair in iptables:iptables ip:iproute2 tc:iproute2 ps:procps flock:util-linux setsid:util-linux \
    timeout:coreutils sha256sum:coreutils bash:bash xargs:findutils; do
    tool "${pair%%:*}" "${pair##*:}" || missing=1
done
[ "$missing" ] || say tools good "all there"

try "kill, stop, pause" bad "" sh -c 'sleep 9 & kill -STOP $! && kill -CONT $! && kill -KILL $!'
try "partition" bad "modprobe -a nf_tables ip_tables" \
    apart 'iptables -N T && iptables -A T -s 192.0.2.1 -j DROP && iptables -A INPUT -j T'
try "packet loss" limited "modprobe xt_statistic" \
    apart 'iptables -A INPUT -m statistic --mode random --probability 0.1 -j DROP'
try "packet delay, reorder, duplicate, rate" limited "modprobe sch_netem" \
    apart 'tc qdisc add dev lo root netem delay 1ms'
try "full disk" limited "mounting takes root with all its rights" \
    apart 'mount -t tmpfs -o size=1m none /mnt'

# The bit CAP_SYS_TIME, which a lab's nodes are denied.
if [ $((0x$(sed -n 's/^CapEff:\t*//p' /proc/self/status) >> 25 & 1)) = 1 ]; then
    say "clock" good "it may be set"
else
    say "clock" limited "it may not be set: it is the machine's" "clock faults take virtual machines or real hosts"
fi

free_mb=$(df -Pm /var/lib | awk 'NR == 2 {print $4}')
if [ "$free_mb" -lt 512 ]; then
    say "disk space" bad "$free_mb MB free in /var/lib" "make room on the host"
else
    say "disk space" good "$free_mb MB free in /var/lib"
fi
file=$(mktemp /var/lib/ordeal-doctor.XXXXXX)
start=$(date +%s%N)
dd if=/dev/zero of="$file" bs=4k count=20 oflag=dsync 2>/dev/null
us=$((($(date +%s%N) - start) / 20000))
rm -f "$file"
if [ "$us" -gt 50000 ]; then
    say "disk latency" limited "a synced write takes $us µs" "elections may come from slow writes: raise the timeouts"
else
    say "disk latency" good "a synced write takes $us µs (mean of 20)"
fi
files=$(ulimit -Hn)
if [ "$files" != unlimited ] && [ "$files" -lt 4096 ]; then
    say "open files" bad "at most $files" "echo '* hard nofile 65536' > /etc/security/limits.d/ordeal.conf"
else
    say "open files" good "at most $files"
fi
ports=$(awk 'FNR > 1 && $4 == "0A" {split($2, a, ":"); print a[2]}' /proc/net/tcp /proc/net/tcp6 2>/dev/null |
    sort -u | while read -r hex; do printf '%d ' "0x$hex"; done)
say "ports in use" good "${ports:-none}"
