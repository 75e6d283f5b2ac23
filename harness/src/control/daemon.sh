# Keeps one daemon: start, signal, stop, status. Never touches a process that is not the one that
# it started: the pidfile holds the process's number and the moment of its birth, and a stranger
# that got the same number later was born later.
# Usage: VERB PIDFILE [...]; each verb prints one line.
set -u
verb=$1
pidfile=$2
shift 2

# The fields of a process's stat from the third on (its name, the second, may contain anything).
fields() {
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    echo "${stat##*) }"
}

# Sets `pid` and `state` (R S D T …) if the daemon lives.
find_daemon() {
    [ -r "$pidfile" ] && read -r pid born <"$pidfile" || return 1
    set -- $(fields "$pid") || return 1
    [ $# -ge 20 ] && [ "${20}" = "$born" ] && [ "$1" != Z ] || return 1
    state=$1
}

# Whether anything is left of the daemon's process group that is not a zombie.
group_lives() {
    for stat in /proc/[0-9]*/stat; do
        line=$(cat "$stat" 2>/dev/null) || continue
        set -- ${line##*) }
        [ "$3" != "$pid" ] || [ "$1" = Z ] || return 0
    done
    return 1
}

# Waits for a condition, at most $1 hundredths of a second.
wait_for() {
    left=$1
    shift
    until "$@"; do
        [ "$left" -gt 0 ] || return 1
        left=$((left - 1))
        sleep 0.01
    done
}

# Whether the daemon is there and its own program: before that it is our shell, called `ordeal`.
begun() {
    find_daemon || return 1
    line=$(tr '\0' '\n' <"/proc/$pid/cmdline" 2>/dev/null)
    case $line in
    "" | *"
ordeal
$pidfile"*) return 1 ;;
    esac
}

gone() { ! group_lives; }
paused() { find_daemon && [ "$state" = T ]; }
awake() { find_daemon && [ "$state" != T ]; }
send() { kill -s "$1" -- "-$pid" 2>/dev/null; }

fail() {
    echo "$*" >&2
    exit 1
}

case $verb in
start) # LOG CWD ARGV...
    log=$1
    cwd=$2
    shift 2
    if find_daemon; then
        echo "already $pid"
        exit 0
    fi
    mkdir -p -- "$(dirname -- "$pidfile")" "$(dirname -- "$log")" "$cwd" || exit 1
    printf '%s\0' "$log" "$cwd" "$@" >"$pidfile.start" || exit 1
    cd -- "$cwd" || exit 1
    ulimit -n "$(ulimit -Hn)" 2>/dev/null
    rm -f -- "$pidfile"
    setsid sh -c '
        pidfile=$1
        shift
        read -r stat </proc/$$/stat
        set -- "${stat##*) }" "$@"
        born=$(set -- $1; echo "${20}")
        shift
        echo "$$ $born" >"$pidfile.new" && mv -f -- "$pidfile.new" "$pidfile" && exec "$@"
    ' ordeal "$pidfile" "$@" >>"$log" 2>&1 </dev/null &
    wait_for 500 begun || fail "it did not start; the end of its log: $(tail -n 3 -- "$log")"
    echo "started $pid"
    ;;
again) # as it was started before
    [ -r "$pidfile.start" ] || fail "it was never started here"
    exec xargs -0 -a "$pidfile.start" sh "$0" start "$pidfile"
    ;;
status)
    if find_daemon; then
        [ "$state" = T ] && echo "paused $pid" || echo "running $pid"
    else
        echo stopped
    fi
    ;;
kill)
    find_daemon || { echo stopped; exit 0; }
    send KILL
    wait_for 1000 gone || fail "process group $pid does not die"
    rm -f -- "$pidfile"
    echo "killed $pid"
    ;;
stop) # GRACE, in hundredths of a second
    find_daemon || { echo stopped; exit 0; }
    send CONT
    send TERM
    if wait_for "$1" gone; then
        rm -f -- "$pidfile"
        echo "ended $pid"
    else
        fail "process group $pid has not ended in time"
    fi
    ;;
pause)
    find_daemon || { echo stopped; exit 0; }
    send STOP
    wait_for 200 paused || fail "process $pid does not stop"
    echo "paused $pid"
    ;;
resume)
    find_daemon || { echo stopped; exit 0; }
    send CONT
    wait_for 200 awake || fail "process $pid does not go on"
    echo "running $pid"
    ;;
*) fail "no verb $verb" ;;
esac
