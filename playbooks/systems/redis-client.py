#!/usr/bin/env python3
"""An exec client: one JSON object a line in, one a line out. Usage: redis-client.py HOST PORT"""
import json, socket, sys

def connect():
    s = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=1)
    return s.makefile("rwb")

def call(f, *words):
    words = [str(w).encode() for w in words]
    f.write(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))
    f.flush()
    return reply(f)

def reply(f):
    line = f.readline()
    if not line: raise EOFError("closed")
    kind, rest = line[:1], line[1:-2].decode()
    if kind == b"-": raise RuntimeError(rest)
    if kind == b":": return int(rest)
    if kind == b"*": return [reply(f) for _ in range(int(rest))]
    if kind == b"$": return None if rest == "-1" else f.read(int(rest) + 2)[:-2].decode()
    return rest

def do(f, op):
    key, value = op["workload"] + op["key"], json.dumps(op["value"])
    what = (op["workload"], op["f"])
    if what == ("set", "add"): call(f, "SADD", key, value)
    elif what == ("set", "read"): return [json.loads(v) for v in call(f, "SMEMBERS", key)]
    elif op["f"] == "write": call(f, "SET", key, value)
    elif op["f"] == "read": return json.loads(call(f, "GET", key) or "null")
    elif op["f"] == "enqueue": call(f, "LPUSH", key, value)
    elif op["f"] == "dequeue": return json.loads(call(f, "RPOP", key) or "null")
    return op["value"]

file = None
for line in sys.stdin:
    op = json.loads(line)
    try:
        file = file or connect()
        if call(file, "ROLE")[0] != "master":  # replicas answer reads with old values
            answer = {"type": "fail", "error": "not-primary"}
        else:
            answer = {"type": "ok", "value": do(file, op)}
    except RuntimeError as error:              # an answer that says no: it did not happen
        answer = {"type": "fail", "error": str(error).split()[0].lower()}
    except (OSError, EOFError) as error:
        happened = "fail" if file is None else "info"
        answer, file = {"type": happened, "error": type(error).__name__}, None
    print(json.dumps(answer), flush=True)
