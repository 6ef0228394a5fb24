"""The countdown task of grpo_countdown.graph: from some numbers, each used once, make another one. Prompts, and their reward.

    mkdir countdown
    python3 countdown.py make 4000 > countdown/train.jsonl
    python3 countdown.py make 200 --test > countdown/test.jsonl
    python3 countdown.py                     scores completions as r1 asks for them: command('python3 countdown.py')

Whether a prompt is held out says the hash of its numbers and target, so that no training prompt is a test prompt.
"""

import argparse
import ast
import hashlib
import json
import random
import re
import sys
from fractions import Fraction

LONGEST = 200  # characters of an expression: more is no answer to this


def value(text, used):
    """The value of an expression of whole numbers and + - * / ( ), exactly; the numbers it uses go into `used`.

    ValueError for anything else, a division by zero included.
    """
    if len(text) > LONGEST:
        raise ValueError("too long")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, RecursionError, MemoryError):
        raise ValueError("not an expression")

    def walk(node):
        if isinstance(node, ast.Constant) and type(node.value) is int:
            used.append(node.value)
            return Fraction(node.value)
        if isinstance(node, ast.BinOp):
            left, right = walk(node.left), walk(node.right)
            if isinstance(node.op, ast.Add):
                return left + right
            if isinstance(node.op, ast.Sub):
                return left - right
            if isinstance(node.op, ast.Mult):
                return left * right
            if isinstance(node.op, ast.Div) and right != 0:
                return left / right
        raise ValueError("not made of + - * /")

    return walk(tree)


def answer_in(response):
    """The last expression that is marked as the answer, or None."""
    marked = re.findall(r"<answer>(.*?)</answer>|\\boxed\{([^{}]*)\}", response, re.DOTALL)
    if not marked:
        return None
    text = marked[-1][0] or marked[-1][1]
    return text.split("=")[0].replace("\\times", "*").replace("×", "*").replace("÷", "/").replace("−", "-")


def countdown(response, numbers, target, **_):
    """1 for the target from all numbers, each once; 0.1 for an expression of them that is something else; 0 otherwise."""
    text = answer_in(response)
    if text is None:
        return 0.0, {"marked": 0.0}
    used = []
    try:
        result = value(text, used)
    except ValueError:
        return 0.0, {"marked": 1.0}
    wanted = sorted(int(n) for n in numbers.split())
    if sorted(used) != wanted:
        return 0.0, {"marked": 1.0}
    return (1.0 if result == int(target) else 0.1), {"marked": 1.0}


def held_out(numbers, target):
    digest = hashlib.sha256(("%s=%d" % (sorted(numbers), target)).encode()).digest()
    return digest[0] % 10 == 0


def make(count, seed, test, most):
    rng = random.Random(seed)
    seen = set()
    while len(seen) < count:
        numbers = [rng.randint(1, most) for _ in range(rng.choice((2, 3)))]
        target = numbers[0]
        for n in numbers[1:]:
            operation = rng.choice("+-*")
            target = target + n if operation == "+" else target - n if operation == "-" else target * n
        key = (tuple(sorted(numbers)), target)
        if not 0 < target < 1000 or key in seen or held_out(numbers, target) != test:
            continue
        seen.add(key)
        rng.shuffle(numbers)
        listed = ", ".join(map(str, numbers))
        yield {
            "prompt": "Use each of the numbers %s exactly once, with + - * / and parentheses, to make %d. "
            "Write the expression as <answer>...</answer>." % (listed, target),
            "numbers": " ".join(map(str, numbers)),
            "target": str(target),
        }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command")
    maker = commands.add_parser("make", help="prompts as JSON lines")
    maker.add_argument("count", type=int)
    maker.add_argument("--seed", type=int, default=1)
    maker.add_argument("--test", action="store_true", help="held-out prompts")
    maker.add_argument("--most", type=int, default=20, help="the largest number (default 20)")
    arguments = parser.parse_args()
    if arguments.command == "make":
        for row in make(arguments.count, arguments.seed, arguments.test, arguments.most):
            sys.stdout.write(json.dumps(row) + "\n")
        return
    from r1_reward import serve

    serve(countdown)


if __name__ == "__main__":
    main()
