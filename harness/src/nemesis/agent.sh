# The nemesis's hand on a node, and the dead man's switch that undoes what it did.
#
# Whatever a fault changes, how to undo it is written to $home/undo/ID first, one line a change:
#     chain FAMILY        remove the fault's chain of iptables rules
#     resume PIDFILE      let a daemon go on
#     start PIDFILE       start a daemon again, as it was started before
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
    sh "$home/daemon" resume "$1" >/dev/null 9>&-
}

undo_start() { # PIDFILE
    sh "$home/daemon" again "$1" >/dev/null 9>&- # a daemon must not keep the lock
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
        chain) undo_chain "$rest" || healed=1 ;;
        resume | start) "undo_$what" "$rest" || healed=1 ;;
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

locked() { # one at a time, on this node
    exec 9>"$home/lock" && flock 9
}

mkdir -p "$home/undo" || exit 1
case $verb in
note) # ID LINE
    id=$1
    note "$2"
    ;;
partition) # ID CONTROL ADDRESS...
    id=$1
    control=$2
    shift 2
    locked
    for family in 4 6; do
        used=
        for address; do [ "$(family_of "$address")" = $family ] && used=1; done
        [ "$used" ] || continue
        note "chain $family"
        new_chain $family "ORDEAL-$id" "$control" || fail "cannot make the chain ORDEAL-$id"
    done
    for address; do
        rules "$(family_of "$address")" -A "ORDEAL-$id" -s "$address" -j DROP || exit 1
    done
    for address; do
        family=$(family_of "$address")
        has $family -C INPUT -j ORDEAL && has $family -C ORDEAL -j "ORDEAL-$id" &&
            has $family -C "ORDEAL-$id" -s "$address" -j DROP ||
            fail "the rule against $address is not there"
    done
    ;;
probe) # ADDRESS...: prints the addresses that still answer
    for address; do
        timeout 0.3 bash -c "exec 3<>/dev/tcp/\$0/22" "$address" 2>/dev/null
        [ $? = 124 ] || echo "$address" &
    done
    wait
    ;;
heal) # ID
    id=$1
    locked
    heal
    ;;
heal-all) # TAG
    locked
    heal_all "$1"
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
            (locked && heal_all "$1") && rm -f -- "$home/lease.$1"
        fi
        sleep 1
    done
    ;;
*) fail "no verb $verb" ;;
esac
