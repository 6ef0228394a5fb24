"""Reward functions as people have them, served unchanged."""

import os
import sys

from r1_reward import reward


# TRL's documentation, "Using a custom reward function".
def reward_len(completions, **kwargs):
    return [-abs(20 - len(completion)) for completion in completions]


# The same place, with a column of the data set.
def reward_equal(prompts, completions, ground_truth=None, answer=None, **kwargs):
    return [1.0 if c.strip() == a else 0.0 for c, a in zip(completions, answer)]


def reward_chat(prompts, completions, **kwargs):
    assert prompts[0][0]["role"] == "user", prompts
    return [float(len(completion[0]["content"])) for completion in completions]


async def reward_async(prompts, completions, **kwargs):
    return [0.25] * len(completions)


# verl's interface of custom rewards.
def compute_score(data_source, solution_str, ground_truth, extra_info=None):
    assert data_source == "gsm8k" and extra_info["kind"] == "sum"
    return {"score": float(solution_str == ground_truth), "acc": solution_str == ground_truth, "pred": solution_str}


def compute_number(solution_str, ground_truth):
    return solution_str == ground_truth


@reward
def with_parts(response, answers, kind, missing=None, tokens=0):
    assert missing is None
    return 0.5, {"n": len(answers), "sum": kind == "sum", "tokens": tokens}


def counted(response, tokens):
    return tokens


def loud(response):
    print("a word on stdout")
    sys.stdout.flush()
    os.write(1, b"a word on file 1\n")
    os.system("echo a word of a child")
    assert sys.stdin.read() == "", "requests are not to be read here"
    return 1


def raises(response):
    raise ValueError("no such unit: %s" % response)


def leaves(response):
    sys.exit(3)


def forks(response):
    if os.fork() == 0:
        if response == "raises":
            raise ValueError("a word of a child that failed")
        if response == "leaves":
            sys.exit(3)
        return 5
    return os.waitstatus_to_exitcode(os.wait()[1])


def wants_id(response, id):
    return float(id == "train-17"), {"of_request": id == 7}


def wants_solution(completions, solution):
    return [float(c == s) for c, s in zip(completions, solution)]


def wants_answer(completions, answer, trainer_state):
    return [float(answer == [None])]


def gives_none(response):
    return None


def gives_nan(response):
    return float("nan")


def gives_text(response):
    return "1"


def gives_two(prompts, completions):
    return [1, 2]


def takes_nothing():
    return 1


not_a_function = 3
