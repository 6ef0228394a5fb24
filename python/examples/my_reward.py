"""A reward of one's own: the answer has to be right, and a short response counts a little more.

In a graph: rewards="command('python3 my_reward.py', 'right', 'short')"
By hand:    r1-score --rewards "command('python3 my_reward.py')" < responses.jsonl
"""

from r1_reward import reward, serve


@reward
def my_reward(response, answer, tokens):
    right = float(answer is not None and response.strip().endswith(answer))
    short = 1.0 / (1.0 + (tokens or 0) / 100)
    return right + 0.1 * right * short, {"right": right, "short": short}


if __name__ == "__main__":
    serve(my_reward)
