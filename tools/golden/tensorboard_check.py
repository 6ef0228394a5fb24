"""Does TensorBoard read the event files of a run, and do they hold what its run store holds?

Loads RUN_DIR with TensorBoard's EventAccumulator and compares every scalar STAGE/NAME with the statistics of the batches in run.db
(values are f32 in event files). Exits 1 with the differences. Not part of the tests, which compare bytes with a golden record
(tests/runtime/metrics).

    python3 -m venv /tmp/golden && /tmp/golden/bin/pip install tensorboard
    /tmp/golden/bin/python tools/golden/tensorboard_check.py RUN_DIR
"""
import json
import sqlite3
import struct
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def f32(value):
    return struct.unpack("<f", struct.pack("<f", value))[0]


def stored(run_dir):
    """{tag: {step: value}} of all batches."""
    out = {}
    db = sqlite3.connect(f"file:{run_dir}/run.db?mode=ro", uri=True)
    for stage, version, stats in db.execute(
            "SELECT name, version, stats FROM batch_stats JOIN stages ON stages.id = stage WHERE status = 'done'"):
        for name, value in json.loads(stats).items():
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                out.setdefault(f"{stage}/{name}", {})[version] = f32(value)
    return out


def main(run_dir):
    accumulator = EventAccumulator(run_dir, size_guidance={"scalars": 0})
    accumulator.Reload()
    tags = accumulator.Tags()["scalars"]
    wrong = []
    expected = stored(run_dir)
    points = 0
    for tag, values in sorted(expected.items()):
        got = {event.step: event.value for event in accumulator.Scalars(tag)} if tag in tags else {}
        points += len(got)
        if got != values:
            steps = sorted(s for s in set(got) | set(values) if got.get(s) != values.get(s))
            wrong.append(f"{tag}: {len(steps)} of {len(values)} steps differ, first {steps[0]}: {got.get(steps[0])} instead of {values.get(steps[0])}")
    held_out = [tag for tag in tags if "/held_out/" in tag]
    for line in wrong:
        print(line)
    print(f"{len(expected)} series with {points} points, {len(held_out)} held-out series: {'DIFFERENT' if wrong else 'equal'}")
    return 1 if wrong or not expected else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
