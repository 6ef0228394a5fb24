"""Rewards for r1 written in Python. Pure Python 3.8 or newer, without dependencies.

    python3 -m r1_reward my_file.py:my_function          lines on stdin and stdout: command('python3 -m r1_reward my_file.py:my_function')
    python3 -m r1_reward my_file.py:my_function --http 8000       a server: http('http://127.0.0.1:8000/score')

or at the end of a file of your own, which is then command('python3 my_file.py'):

    from r1_reward import reward, serve

    @reward
    def my_function(response, answer, **facts):
        return 1.0 if answer in response else 0.0

    serve(my_function)

Functions written for other trainers are served unchanged. Which kind one is follows from its parameters:

    TRL    f(prompts, completions, **columns) -> [score, ...]      columns: answer, answers, facts as lists of one
    verl   compute_score(data_source, solution_str, ground_truth, extra_info=None) -> score or {"score": ..., part: ...}
    r1     f(any of: prompt, messages, response, answer, answers, facts, finished, tokens, id, and names of facts) ->
           score, (score, {part: number}) or {"score": ..., part: number}

What the function prints goes to stderr, which r1 writes into its log. An exception is an error of that completion, with the last
line of its traceback; the whole of it goes to stderr. The schema of a line is in docs/rewards.md.
"""

import argparse
import asyncio
import importlib
import importlib.util
import inspect
import io
import json
import math
import os
import sys
import threading
import traceback

__all__ = ["reward", "serve", "score", "load"]

_LISTS_OF_NONE = {"answer": [None], "answers": [None]}  # columns of a prompt without an answer
_FIELDS = ("id", "prompt", "messages", "response", "answer", "answers", "facts", "finished", "tokens")


def reward(function):
    """Marks a function as one that takes the fields of a request by name, whatever they are called."""
    function.__r1_reward__ = "r1"
    return function


def _parameters(function):
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):
        raise TypeError("%r has no signature: wrap it in a function" % (function,))


def kind_of(function):
    """ "r1", "trl" or "verl"; TypeError when it is none of them."""
    marked = getattr(function, "__r1_reward__", None)
    if marked:
        return marked
    names = set(_parameters(function))
    if "completions" in names:
        return "trl"
    if "solution_str" in names:
        return "verl"
    open_ended = any(p.kind is p.VAR_KEYWORD for p in _parameters(function).values())
    if names & {"response", "answer", "prompt", "messages"} or open_ended:
        return "r1"
    raise TypeError(
        "%s(%s): a reward takes completions (TRL), solution_str (verl), or response, answer, prompt, ... by name"
        % (getattr(function, "__name__", function), ", ".join(names))
    )


def _call_by_name(function, values, absent=()):
    """Calls it with those of `values` that it takes. Of what it wants besides, `absent` has what may be missing; anything else
    is a mistake: a None in its place would be scored as if the completion were wrong."""
    arguments = {}
    for name, p in _parameters(function).items():
        if p.kind is p.VAR_KEYWORD:
            arguments.update({k: v for k, v in values.items() if k not in arguments})
        elif p.kind is p.VAR_POSITIONAL or p.kind is p.POSITIONAL_ONLY:
            raise TypeError("parameter %s has to be callable by name" % name)
        elif name in values:
            arguments[name] = values[name]
        elif p.default is p.empty:
            if name not in absent:
                raise TypeError(
                    "it takes %s, and there is no such field or fact, only %s (rename the parameter, or give it a default)"
                    % (name, ", ".join(sorted(values)))
                )
            arguments[name] = absent[name]
    result = function(**arguments)
    return asyncio.run(result) if inspect.isawaitable(result) else result


def _call_trl(function, request):
    messages = request.get("messages")
    response = request.get("response", "")
    columns = dict(request.get("facts") or {})
    columns.update({k: request.get(k) for k in ("answer", "answers") if k in request})
    columns = {name: [value] for name, value in columns.items()}
    columns["prompts"] = [messages if messages else request.get("prompt", "")]
    columns["completions"] = [[{"role": "assistant", "content": response}] if messages else response]
    columns["completion_ids"] = [None]
    result = _call_by_name(function, columns, {**_LISTS_OF_NONE, "trainer_state": None, "log_extra": None, "log_metric": None})
    if hasattr(result, "tolist"):
        result = result.tolist()
    if not isinstance(result, (list, tuple)) or len(result) != 1:
        raise TypeError("a reward function of TRL returns a list with a score for each completion, not %r" % (result,))
    return result[0]


def _call_verl(function, request):
    facts = dict(request.get("facts") or {})
    return _call_by_name(
        function,
        {
            "data_source": facts.get("data_source", facts.get("domain", "")),
            "solution_str": request.get("response", ""),
            "ground_truth": request.get("answer"),
            "extra_info": facts,
        },
    )


def _call_r1(function, request):
    facts = request.get("facts") or {}
    values = dict(facts)
    # Of a prompt without an answer, or that is no conversation, a function hears None; of a length that nobody counted nothing.
    values.update({name: request.get(name) for name in _FIELDS if name != "tokens" or name in request})
    if "id" in facts:  # that of the data, by which a reward finds its tests; the request's says nothing of the prompt
        values["id"] = facts["id"]
    return _call_by_name(function, values)


def _number(value, what):
    if value is None:
        raise ValueError("%s is None: a reward is a number for every completion" % what)
    if hasattr(value, "item"):  # of numpy and torch
        value = value.item()
    if isinstance(value, (bool, int, float)):
        value = float(value)
        if math.isfinite(value):
            return value
    raise ValueError("%s is %r, not a finite number" % (what, value))


def _parts_of(result):
    """Numbers of a dictionary besides its score; what else stands there (verl's "pred") is no metric."""
    parts = {}
    for name, value in result.items():
        value = value.item() if hasattr(value, "item") and getattr(value, "ndim", 0) == 0 else value
        if name != "score" and isinstance(value, (bool, int, float)) and math.isfinite(value):
            parts[str(name)] = float(value)
    return parts


def score(function, request):
    """The answer to one request, as dictionaries; never raises for what the function does."""
    answer = {"id": request["id"]} if "id" in request else {}
    try:
        call = {"trl": _call_trl, "verl": _call_verl, "r1": _call_r1}[kind_of(function)]
        result, parts = call(function, request), {}
        if isinstance(result, dict):
            if "score" not in result:
                raise ValueError("the dictionary %r has no score" % (result,))
            result, parts = result["score"], _parts_of(result)
        elif isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], dict):
            result, parts = result[0], _parts_of(result[1])
        answer["score"] = _number(result, "the score")
        if parts:
            answer["parts"] = parts
    except (Exception, SystemExit) as e:
        _end_child(e)
        text = traceback.format_exc()
        sys.stderr.write(text)
        sys.stderr.flush()
        lines = [line for line in text.splitlines() if line.strip()]
        answer["error"] = lines[-1].strip()[:1000] if lines else "an exception"
    return answer


_server = None  # the process that answers


def _end_child(error=None):
    """Ends a process that the function forked and that came back from it, by an end, an exception or sys.exit(): only its parent
    answers, or the first of two scores would count."""
    if _server in (None, os.getpid()):
        return
    status = 1
    if isinstance(error, SystemExit):
        status = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
    elif error is not None:
        traceback.print_exception(type(error), error, error.__traceback__, file=sys.stderr)
    else:
        sys.stderr.write("r1_reward: a child process came back from the reward and is ended: end it by os._exit() yourself\n")
    sys.stderr.flush()
    os._exit(status & 255)


def _answer_line(function, line):
    try:
        request = json.loads(line)
        if not isinstance(request, dict):
            raise ValueError("a request is an object")
    except ValueError as e:
        return json.dumps({"error": "the request cannot be read: %s" % e})
    answer = json.dumps(score(function, request))
    _end_child()
    return answer


def _own_stdout():
    """The real stdout for answers alone: print() and whatever a library or a child writes to file 1 goes to stderr."""
    sys.stdout.flush()
    answers = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8", newline="\n")
    os.dup2(2, 1)
    sys.stdout = io.TextIOWrapper(os.fdopen(os.dup(2), "wb", 0), encoding="utf-8", errors="replace", write_through=True)
    return answers


def _serve_lines(function):
    requests = io.TextIOWrapper(os.fdopen(os.dup(0), "rb"), encoding="utf-8", errors="replace", newline="\n")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)  # input() in the function does not eat requests
    os.close(nothing)
    answers = _own_stdout()
    answers.write(json.dumps({"ready": True}) + "\n")
    answers.flush()
    for line in requests:
        if line.strip():
            answers.write(_answer_line(function, line) + "\n")
            answers.flush()


def _serve_http(function, port, host):
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    one_at_a_time = threading.Lock()  # most rewards are not safe on threads; start several servers for more

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 600

        def do_POST(self):
            try:
                length = int(self.headers.get("Content-Length", ""))
            except ValueError:
                return self.send_error(411)
            if not 0 <= length <= 1 << 26:
                return self.send_error(413)
            line = self.rfile.read(length).decode("utf-8", "replace")
            with one_at_a_time:
                body = _answer_line(function, line).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request, address):  # a client that goes away is nothing to report
            if not isinstance(sys.exc_info()[1], OSError):
                super().handle_error(request, address)

    server = Server((host, port), Handler)
    sys.stderr.write("r1_reward: http://%s:%d/score\n" % server.server_address[:2])
    sys.stderr.flush()
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


def serve(function, arguments=None):
    """Serves it, as the command line says: lines on stdin and stdout, or --http PORT. Comes back when the input ends."""
    global _server
    _server = os.getpid()
    kind_of(function)  # what is no reward is said before the first request
    parser = argparse.ArgumentParser(description="serves a reward function to r1")
    parser.add_argument("--http", type=int, metavar="PORT", help="serve POST requests instead of lines; 0: any free port")
    parser.add_argument("--host", default="127.0.0.1", help="address of --http (default: this machine alone)")
    args = parser.parse_args(arguments)
    if args.http is None:
        _serve_lines(function)
    else:
        _serve_http(function, args.http, args.host)


def load(name):
    """The function of "file.py:function" or "package.module:function"; without a name the only one that is marked @reward, or
    compute_score."""
    place, colon, function = name.rpartition(":")
    if not colon:
        place, function = name, ""
    if place.endswith(".py") or os.sep in place:
        path = os.path.abspath(place)
        sys.path.insert(0, os.path.dirname(path))
        spec = importlib.util.spec_from_file_location(os.path.splitext(os.path.basename(path))[0], path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    else:
        sys.path.insert(0, os.getcwd())
        module = importlib.import_module(place)
    if function:
        found = getattr(module, function, None)
        if not callable(found):
            raise SystemExit("r1_reward: %s has no function %s" % (place, function))
        return found
    marked = [f for f in vars(module).values() if getattr(f, "__r1_reward__", None) and callable(f)]
    if not marked and callable(getattr(module, "compute_score", None)):
        marked = [module.compute_score]
    if len(marked) != 1:
        raise SystemExit("r1_reward: say which function of %s: %s:NAME" % (place, place))
    return marked[0]


def main():
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.stderr.write(__doc__)
        raise SystemExit(0 if sys.argv[1:] in (["-h"], ["--help"]) else 2)
    # A file that imports this module has to meet the one that is running, or its marks would be another's.
    sys.modules.setdefault("r1_reward", sys.modules["__main__"])
    sys.argv[0] = "r1_reward"
    serve(load(sys.argv[1]), sys.argv[2:])


if __name__ == "__main__":
    main()
