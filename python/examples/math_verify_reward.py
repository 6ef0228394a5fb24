"""Mathematics compared by Hugging Face's math-verify: 1 where the response's final answer equals the prompt's.

In a graph: rewards="command('python3 math_verify_reward.py')"

r1's own rule `math` needs no Python and is safe on threads; this is for those who compare with results made by math-verify.
"""

import sys

from r1_reward import reward, serve

try:
    from math_verify import parse, verify
except ImportError:
    sys.exit("this reward needs the package math-verify: pip install math-verify")


@reward
def math_verify_reward(response, answers):
    # r1 limits the time of every completion itself; the package's own limits use signals, and the main thread has them.
    given = parse(response, parsing_timeout=None)
    for answer in answers or []:
        gold = parse("$%s$" % answer, parsing_timeout=None)
        if verify(gold, given, timeout_seconds=None):
            return 1.0
    return 0.0


if __name__ == "__main__":
    serve(math_verify_reward)
