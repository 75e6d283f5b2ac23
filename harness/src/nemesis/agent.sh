# The nemesis's hand on a node, and the dead man's switch that undoes what it did.
#
# Whatever a fault changes, how to undo it is written to $home/undo/ID first, one line a change:
#     chain FAMILY        remove the fault's chain of iptables rules
#     resume PIDFILE      let a daemon go on
#     start PIDFILE       start a daemon again, as it was started before
#     end PIDFILE         end a helper of ours
#     qdisc DEVICE        remove the traffic shaping of a device
#     remove FILE         remove a file of ours
#     mount KIND DEVICE PLACE     mount a file system again
#     clock UPTIME NOW SERVICE...     set the clock to what it would show (both in milliseconds),
#                                 and start what keeps it right
# A fault's ID is TAG-NUMBER, where TAG is one harness. `heal` carries such a file out, checks that
# it worked, and removes it only then. The watchdog heals all of a TAG when the harness of that TAG
# has not been heard of for a while; it counts its own seconds, because clocks may be under attack.
set -u
home=/run/ordeal
verb=$1
shift

fail() {
    echo "$*" >&2
    exit 1
}

# ---- iptables: everything hangs below the chain ORDEAL, each fault in a chain of its own

family_of() {
    case $1 in *:*) echo 6 ;; *) echo 4 ;; esac
}

rules() { # FAMILY ARGS...
    family=$1
    shift
    case $family in 6) ip6tables -w 10 "$@" ;; *) iptables -w 10 "$@" ;; esac
}

has() { rules "$@" 2>/dev/null; }

# Hangs an empty chain for a fault into the packets that come in. The control host passes by.
new_chain() { # FAMILY CHAIN CONTROL
    has "$1" -nL ORDEAL >/dev/null || rules "$1" -N ORDEAL || return 1
    if [ "$(family_of "$3")" = "$1" ]; then
        has "$1" -C ORDEAL -s "$3" -j RETURN || rules "$1" -I ORDEAL 1 -s "$3" -j RETURN || return 1
    fi
    has "$1" -C INPUT -j ORDEAL || rules "$1" -I INPUT 1 -j ORDEAL || return 1
    rules "$1" -N "$2" && rules "$1" -A ORDEAL -j "$2"
}

# Removes a fault's chain, and ORDEAL itself with the last of them. Prints what it has dropped.
undo_chain() { # FAMILY
    chain=ORDEAL-$id
    if has "$1" -nL "$chain" >/dev/null; then
        rules "$1" -nvxL "$chain" | awk -v id="$id" 'NR > 2 {n += $1} END {print "dropped", n + 0}'
        while has "$1" -D ORDEAL -j "$chain"; do :; done
        rules "$1" -F "$chain" && rules "$1" -X "$chain" || return 1
    fi
    case $(has "$1" -S ORDEAL) in
    *"-j ORDEAL-"*) ;;
    ?*)
        while has "$1" -D INPUT -j ORDEAL; do :; done
        rules "$1" -F ORDEAL && rules "$1" -X ORDEAL || return 1
        ;;
    esac
    ! has "$1" -nL "$chain" >/dev/null
}

# ---- undoing

undo_resume() { # PIDFILE
    sh "$home/daemon" resume "$1" >/dev/null
}

undo_start() { # PIDFILE
    sh "$home/daemon" again "$1" >/dev/null
}

undo_end() { # PIDFILE
    sh "$home/daemon" kill "$1" >/dev/null && rm -f -- "$1.start"
}

undo_qdisc() { # DEVICE
    tc qdisc del dev "$1" root 2>/dev/null
    ! is_shaped "$1"
}

undo_remove() { # FILE
    rm -f -- "$1" && [ ! -e "$1" ]
}

undo_mount() { # "KIND DEVICE PLACE"
    set -- $1
    # One that was shut down and could not be unmounted answers with nothing but errors.
    if mountpoint -q "$3" && ! { { : >"$3/.ordeal"; } 2>/dev/null && rm -f -- "$3/.ordeal"; }; then
        unmount "$3" || return 1
    fi
    mountpoint -q "$3" || mount -t "$1" "$2" "$3"
}

undo_clock() { # "UPTIME NOW SERVICE..."
    set -- $1
    right=$(($2 + $(uptime_ms) - $1))
    set_clock "$right" || return 1
    shift 2
    [ $# = 0 ] || systemctl start "$@"
}

# ---- what several verbs need

# Unmounts what somebody may hold for a moment yet.
unmount() { # PLACE
    tries=20
    until umount "$1" 2>/dev/null; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || { umount "$1"; return; }
        sleep 0.25
    done
}

is_shaped() { # DEVICE
    case $(tc qdisc show dev "$1" 2>/dev/null) in *" d1: "*) ;; *) return 1 ;; esac
}

uptime_ms() {
    read -r up _ </proc/uptime
    echo "${up%.*}${up#*.}0"
}

now_ms() { date +%s%3N; }

set_clock() { # MILLISECONDS; checked to the second
    date -s "@$(($1 / 1000)).$(printf %03d $(($1 % 1000)))" >/dev/null || return 1
    off=$(($(now_ms) - $1))
    [ "${off#-}" -lt 2000 ]
}

# Ends with the reason when this host cannot be done that to.
can() { # VERB
    case $1 in
    shape)
        unshare --net tc qdisc add dev lo root netem delay 1ms 2>/dev/null ||
            fail "unsupported: this kernel has no netem; as root, if it has the module: modprobe sch_netem"
        ;;
    cut-power)
        command -v xfs_io >/dev/null ||
            fail "unsupported: xfs_io is not installed; type: apt-get install -y xfsprogs"
        ;;
    clock) # the bit CAP_SYS_TIME
        [ $((0x$(sed -n 's/^CapEff:[^0-9a-f]*//p' /proc/self/status) >> 25 & 1)) = 1 ] ||
            fail "unsupported: the clock may not be set here: in a lab it is the machine's"
        ;;
    esac
}

helper() { # ARGV...: runs in the background until the fault is healed
    note "end $home/helpers/$id"
    sh "$home/daemon" start "$home/helpers/$id" "$home/helpers/log" / "$@" >/dev/null
}

note() { # LINE...
    printf '%s\n' "$@" >>"$home/undo/$id" && sync "$home/undo/$id"
}

# Carries out the file of fault $id. What fails stays on file.
heal() {
    [ -e "$home/undo/$id" ] || { echo absent; return 0; }
    healed=0
    while read -r what rest; do
        case $what in
        chain | resume | start | end | qdisc | remove | mount | clock) "undo_$what" "$rest" || healed=1 ;;
        *) echo "no undo for $what" >&2; healed=1 ;;
        esac
    done <"$home/undo/$id"
    [ "$healed" = 0 ] && rm -f -- "$home/undo/$id"
}

# Heals every fault of a TAG, or of everyone for the tag "all".
heal_all() { # TAG
    all_healed=0
    for file in "$home"/undo/*; do
        id=${file##*/}
        [ -e "$file" ] || continue
        case $1:$id in
        all:* | "${id%-*}:$id") heal >/dev/null && echo "$id" || all_healed=1 ;;
        esac
    done
    return $all_healed
}

# Runs a function while no other agent on this node does. What it starts does not keep the lock.
locked() { # FUNCTION ARGS...
    (
        flock 9 && "$@" 9>&-
    ) 9>"$home/lock"
}

# ---- the faults that take more than a line

drop() { # CONTROL SHARE ADDRESS...
    control=$1
    share=$2
    shift 2
    for family in 4 6; do
        used=
        for address; do [ "$(family_of "$address")" = $family ] && used=1; done
        [ "$used" ] || continue
        note "chain $family"
        new_chain $family "ORDEAL-$id" "$control" || fail "cannot make the chain ORDEAL-$id"
    done
    for address; do
        family=$(family_of "$address")
        chance=
        [ "$share" = 1 ] || chance="-m statistic --mode random --probability $share"
        rules "$family" -A "ORDEAL-$id" -s "$address" $chance -j DROP || exit 1
        has "$family" -C INPUT -j ORDEAL && has "$family" -C ORDEAL -j "ORDEAL-$id" || fail "the chain is not in use"
        case $(has "$family" -S "ORDEAL-$id") in
        *"-s $address/"*DROP*) ;;
        *) fail "the rule against $address is not there" ;;
        esac
    done
}

# Shapes what goes to the other nodes, and nothing else: band 4 of our own queue is theirs alone.
shape() { # NETEM-ARGUMENT... -- ADDRESS...
    netem=
    while [ "$1" != -- ]; do
        netem="$netem $1"
        shift
    done
    shift
    can shape
    device=$(ip -o route get "$1" | sed -n 's/.* dev \([^ ]*\).*/\1/p')
    [ "$device" ] || fail "there is no route to $1"
    ! is_shaped "$device" || fail "busy: another packet fault is on $device"
    note "qdisc $device"
    tc qdisc replace dev "$device" root handle d1: prio bands 4 || exit 1
    tc qdisc add dev "$device" parent d1:4 handle d2: netem $netem || exit 1
    for address; do
        case $(family_of "$address") in
        6) tc filter add dev "$device" parent d1: protocol ipv6 prio 2 u32 match ip6 dst "$address/128" flowid d1:4 ;;
        *) tc filter add dev "$device" parent d1: protocol ip prio 1 u32 match ip dst "$address/32" flowid d1:4 ;;
        esac || exit 1
    done
    case $(tc qdisc show dev "$device") in *"netem d2: "*) ;; *) fail "the queue is not there" ;; esac
}

fill() { # FOLDER MB_MAX
    free=$(df -Pm -- "$1" | awk 'NR == 2 {print $4}')
    [ "$free" ] && [ "$free" -le "$2" ] ||
        fail "unsupported: ${free:-?} MB are free in $1, and at most $2 may be filled: give the data a small disk of its own (ordeal lab up --disk 256)"
    note "remove $1/.ordeal-ballast.$id"
    for block in 1M 4k 512; do
        dd if=/dev/zero bs=$block oflag=append conv=notrunc of="$1/.ordeal-ballast.$id" 2>/dev/null
    done
    if head -c 65536 /dev/zero >"$1/.ordeal-try.$id" 2>/dev/null; then full=; else full=1; fi
    rm -f -- "$1/.ordeal-try.$id"
    [ "$full" ] || fail "$1 is not full"
}

# Loses what was not synced, as a power cut does: the file system is shut down without writing its
# log, and mounted again. The daemon dies in between.
cut_power() { # PIDFILE FOLDER
    can cut-power
    set -- "$1" $(df --output=source,target,fstype -- "$2" | tail -n 1)
    [ "${3:-/}" != / ] ||
        fail "unsupported: the data is on the root file system: give it a disk of its own (ordeal lab up --disk 256)"
    note "mount $4 $2 $3" "start $1"
    xfs_io -x -c shutdown "$3" || fail "unsupported: the file system on $3 ($4) cannot be shut down"
    sh "$home/daemon" kill "$1" >/dev/null || exit 1
    unmount "$3" && mount -t "$4" "$2" "$3" || fail "$3 cannot be mounted again"
    echo "what was not synced in $3 is lost"
}

damage() { # PIDFILE FILES truncate|flip PER_MILLE BYTES
    note "start $1"
    sh "$home/daemon" kill "$1" >/dev/null || exit 1
    IFS=
    file=$(ls -1td -- $2 2>/dev/null | head -n 1)
    unset IFS
    [ -f "$file" ] || fail "there is no file $2"
    size=$(stat -c %s -- "$file")
    [ "$size" -gt 0 ] || fail "$file is empty"
    case $3 in
    truncate)
        left=$((size > $5 ? size - $5 : 0))
        truncate -s "$left" -- "$file" || exit 1
        echo "$file was cut from $size to $left bytes"
        ;;
    flip)
        at=$((size * $4 / 1000))
        old=$(($(od -An -tu1 -j "$at" -N 1 -- "$file")))
        printf "\\$(printf %03o $((old ^ 4)))" | dd of="$file" bs=1 seek="$at" conv=notrunc 2>/dev/null
        [ "$(($(od -An -tu1 -j "$at" -N 1 -- "$file")))" = $((old ^ 4)) ] || fail "$file did not change"
        echo "one bit of byte $at of $size was flipped in $file"
        ;;
    esac
    sync "$file"
}

mkdir -p "$home/undo" "$home/helpers" || exit 1
case $verb in
note) # ID LINE
    id=$1
    note "$2"
    ;;
can) # VERB
    can "$1"
    ;;
drop) # ID CONTROL SHARE ADDRESS...: a share of 1 is a partition
    id=$1
    shift
    locked drop "$@"
    ;;
shape) # ID NETEM-ARGUMENT... -- ADDRESS...
    id=$1
    shift
    locked shape "$@"
    ;;
pulse) # ID PIDFILE STOP GO: the daemon stands still again and again, for so many seconds
    id=$1
    sh "$home/daemon" status "$2" | grep -q '^running' || fail "busy: its daemon does not run"
    helper sh -c 'while :; do
        sh "$1" pause "$2" && sleep "$3"
        sh "$1" resume "$2"
        sleep "$4"
    done' pulse "$home/daemon" "$2" "$3" "$4" || exit 1
    note "resume $2"
    ;;
burn) # ID THREADS (0: as many as there are processors)
    id=$1
    threads=$2
    [ "$threads" -gt 0 ] || threads=$(nproc)
    helper sh -c 'n=$1
        while [ "$n" -gt 1 ]; do
            (while :; do :; done) &
            n=$((n - 1))
        done
        while :; do :; done' burn "$threads"
    ;;
memory) # ID MB
    id=$1
    free=$(awk '$1 == "MemAvailable:" {print int($2 / 1024)}' /proc/meminfo)
    [ "$free" -gt $(($2 + 64)) ] || fail "unsupported: only $free MB of memory are free"
    note "remove /dev/shm/ordeal.$id"
    head -c "$2"M /dev/zero >"/dev/shm/ordeal.$id"
    ;;
fill) # ID FOLDER MB_MAX
    id=$1
    shift
    fill "$@"
    ;;
cut-power) # ID PIDFILE FOLDER
    id=$1
    shift
    cut_power "$@"
    ;;
damage) # ID PIDFILE FILES HOW PER_MILLE BYTES
    id=$1
    shift
    damage "$@"
    ;;
clock) # ID MILLISECONDS
    id=$1
    can clock
    # What sets the clock right is stopped, not disabled as `timedatectl` would: a reboot brings it back.
    services=$(systemctl list-units --plain --no-legend --state=active chrony.service chronyd.service \
        systemd-timesyncd.service ntpsec.service ntp.service ntpd.service openntpd.service 2>/dev/null | cut -d' ' -f1)
    note "clock $(uptime_ms) $(now_ms) $(echo $services)"
    # shellcheck disable=SC2086  # a list of names
    [ -z "$services" ] || systemctl stop $services || fail "what keeps the clock right cannot be stopped"
    set_clock $(($(now_ms) + $2)) || fail "the clock does not show what it was set to"
    ;;
probe) # ADDRESS...: prints the addresses that still answer
    for address; do
        {
            timeout 0.3 bash -c "exec 3<>/dev/tcp/\$0/22" "$address" 2>/dev/null
            [ $? = 124 ] || echo "$address"
        } &
    done
    wait
    ;;
heal) # ID
    id=$1
    locked heal
    ;;
heal-all) # TAG
    locked heal_all "$1"
    ;;
outstanding)
    ls "$home/undo"
    ;;
watch) # TAG SECONDS
    echo start >"$home/lease.$1"
    setsid sh "$0" watchdog "$1" "$2" </dev/null >>"$home/watchdog.log" 2>&1 &
    ;;
refresh) # TAG NUMBER
    [ -e "$home/lease.$1" ] || fail "the watchdog gave this harness up for dead"
    echo "$2" >"$home/lease.$1"
    ;;
unwatch) # TAG
    rm -f -- "$home/lease.$1"
    ;;
watchdog) # TAG SECONDS
    last=
    silent=0
    while lease=$(cat "$home/lease.$1" 2>/dev/null); do
        [ "$lease" = "$last" ] && silent=$((silent + 1)) || silent=0
        last=$lease
        if [ "$silent" -ge "$2" ]; then
            echo "no word from harness $1 for $2 s: healing"
            locked heal_all "$1" && rm -f -- "$home/lease.$1"
        fi
        sleep 1
    done
    ;;
*) fail "no verb $verb" ;;
esac
