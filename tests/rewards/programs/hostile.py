"""A reward program that does as its first argument says; what it answers is the number in the response."""

import json
import os
import subprocess
import sys
import time

how = sys.argv[1]
argument = sys.argv[2] if len(sys.argv) > 2 else ""


def answer(**fields):
    print(json.dumps(fields), flush=True)


if how == "dies_at_once":
    sys.stderr.write("cannot import the things I need\n")
    sys.exit(3)
if how == "talks":
    print("loading the model", flush=True)
if how == "slow_start":
    time.sleep(float(argument))
    answer(ready=True)
if how == "forks":
    child = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    with open(argument, "a") as file:
        file.write("%d %d\n" % (os.getpid(), child.pid))

for count, line in enumerate(sys.stdin, 1):
    request = json.loads(line)
    bad = "bad" in request["response"]
    if how == "hangs" and bad:
        time.sleep(1000)
    if how == "crashes_after" and count > int(argument):
        os.kill(os.getpid(), 11)
    if how == "garbage" and bad:
        print("Traceback? no, hello", flush=True)
        continue
    if how == "garbage_once" and not os.path.exists(argument):
        open(argument, "w").close()
        print("hello", flush=True)
        continue
    if how == "flood" and bad:
        sys.stdout.write("x" * 100_000_000 + "\n")
    if how == "closes" and bad:
        os.close(1)
        time.sleep(1000)
    if how == "wrong_id" and bad:
        answer(id=request["id"] + 1, score=1)
        continue
    if how == "says" and bad:
        answer(id=request["id"], **json.loads(argument.replace("~", '"')))
        continue
    if how == "twice":
        good = json.dumps({"score": float(request["response"].split()[-1])})
        sys.stdout.write(good + "\n" + json.dumps({"score": 0.5}) + "\n")
        sys.stdout.flush()
        continue
    if how == "echo":
        sys.stderr.write(line)
        answer(id=request["id"], score=1, parts={"size": len(line)})
        continue
    answer(id=request["id"], score=float(request["response"].split()[-1]))
