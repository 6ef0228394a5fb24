"""Tasks of reasoning-gym (pip install reasoning-gym): prompts as JSON lines, and its own scores as a reward.

    python3 gym_task.py make chain_sum 4000 --set max_terms=2 --set max_digits=2 > train.jsonl
    python3 gym_task.py make chain_sum 300 --set max_terms=2 --set max_digits=2 --test > test.jsonl
    python3 gym_task.py                      scores completions as r1 asks for them: command('python3 gym_task.py')

Whether a prompt is held out says the hash of its text, so that no training prompt is a test prompt, whatever the seeds. Where the
answer is a number, r1's own `math` scores it without a program.
"""

import argparse
import hashlib
import json
import re
import sys


def held_out(question):
    return hashlib.sha256(question.encode()).digest()[0] % 10 == 0


def parameter(text):
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError("%r is not NAME=VALUE" % text)
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def reasoning_gym():
    try:
        import reasoning_gym as module
    except ImportError:
        sys.exit("gym_task.py: reasoning-gym is missing\n  hint: %s -m pip install reasoning-gym" % sys.executable)
    return module


def make(dataset, count, seed, test, parameters, suffix):
    gym = reasoning_gym()
    seen = set()
    drawn = 0
    while len(seen) < count:
        before = len(seen)
        for entry in gym.create_dataset(dataset, seed=1000 * (1000 * seed + drawn), size=1000, **parameters):
            question = entry["question"]
            if len(seen) == count or question in seen or held_out(question) != test:
                continue
            seen.add(question)
            kept = {"question": question, "answer": entry["answer"], "metadata": entry["metadata"]}
            yield {"prompt": question + suffix, "answer": str(entry["answer"]), "dataset": dataset,
                   "entry": json.dumps(kept, default=str)}
        drawn += 1
        if len(seen) == before and drawn > 100:
            raise SystemExit("gym_task.py: %s has only %d different prompts like this, %d are wanted" % (dataset, len(seen), count))


def score(response, dataset, entry, **_):
    """What the task's own score says of the text in <answer>, or in the last box, or else of the last line."""
    marked = re.findall(r"<answer>(.*?)</answer>|\\boxed\{([^{}]*)\}", response, re.DOTALL)
    lines = [line for line in response.splitlines() if line.strip()]
    answer = (marked[-1][0] or marked[-1][1]) if marked else lines[-1] if lines else ""
    return float(reasoning_gym().get_score_answer_fn(dataset)(answer.strip(), json.loads(entry)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command")
    maker = commands.add_parser("make", help="prompts as JSON lines")
    maker.add_argument("dataset", help="a name of reasoning_gym: chain_sum, countdown, gsm_symbolic, ...")
    maker.add_argument("count", type=int)
    maker.add_argument("--set", action="append", default=[], type=parameter, metavar="NAME=VALUE",
                       help="of the dataset: max_terms=2")
    maker.add_argument("--seed", type=int, default=1)
    maker.add_argument("--test", action="store_true", help="held-out prompts")
    maker.add_argument("--suffix", default="", help="what follows the question in each prompt")
    arguments = parser.parse_args()
    if arguments.command == "make":
        for row in make(arguments.dataset, arguments.count, arguments.seed, arguments.test, dict(arguments.set),
                        arguments.suffix):
            sys.stdout.write(json.dumps(row) + "\n")
        return
    from r1_reward import serve

    reasoning_gym()  # takes seconds: before the first completion, not with it
    serve(score)


if __name__ == "__main__":
    main()
