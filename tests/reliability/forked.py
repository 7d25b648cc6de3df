"""Starts our scripts as forks of one process that has paid for the imports, so that many kills take little time.

Reads one JSON object a line from stdin. `{"argv": [script, ..], "log": file, "cwd": folder}` forks a child that runs
the script as `python script ..` would, and answers with its process id; `{"wait": pid, "limit_s": seconds}` answers
with its exit code (negative: the signal), or null if it still runs then.
"""

import json
import os
import runpy
import sys
import time


def start(request):
    child = os.fork()
    if child:
        return child
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.chdir(request["cwd"])
    sys.argv = request["argv"]
    code = 1
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
        code = 0
    except SystemExit as stopped:
        code = stopped.code if isinstance(stopped.code, int) else int(stopped.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def wait(pid, limit_s):
    end = time.monotonic() + limit_s
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= end:
            return None
        time.sleep(0.01)


def main():
    import led_rl.eval.evaluate
    import led_rl.pretrain.train
    import led_rl.pretrain.warmup
    import led_rl.report.build
    import led_rl.rl.train  # noqa: F401

    print("ready", flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        answer = wait(request["wait"], request["limit_s"]) if "wait" in request else start(request)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
