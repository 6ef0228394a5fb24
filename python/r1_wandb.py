"""Tells Weights & Biases what r1 measures.

In a graph:   graph [tracker="command(python3 r1_wandb.py --project my-project)"];
Offline:      the same with --offline, or WANDB_MODE=offline; `wandb sync` uploads it later.

Reads the JSON lines that r1-run gives a tracker (docs/formats.md, "What a tracker is told") on stdin. Every stage counts its own
steps: its metrics are STAGE/NAME and STAGE/held_out/NAME over STAGE/step. A run that is continued goes on in the same W&B run.
Needs the package wandb.
"""

import argparse
import hashlib
import json
import os
import sys


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--project", default="r1")
    parser.add_argument("--name", help="of the run; default: the name of its directory")
    parser.add_argument("--offline", action="store_true")
    args = parser.parse_args()
    import wandb

    run = None
    for line in sys.stdin:
        event = json.loads(line)
        if event["event"] == "run":
            if run is not None:
                continue
            where = event["run_dir"]
            run = wandb.init(
                project=args.project,
                name=args.name or os.path.basename(where.rstrip("/")),
                # The same directory is the same run, however often it is continued.
                id=hashlib.sha256(where.encode()).hexdigest()[:16],
                resume="allow",
                mode="offline" if args.offline else None,
                config={"graph": event["graph"], "seed": event["seed"], "run_dir": where},
            )
            for stage in event["stages"]:
                run.define_metric(f"{stage}/step")
                run.define_metric(f"{stage}/*", step_metric=f"{stage}/step")
        elif event["event"] in ("batch", "held_out"):
            stage = event["stage"]
            prefix = stage if event["event"] == "batch" else f"{stage}/held_out"
            row = {f"{prefix}/{name}": value for name, value in event["metrics"].items()}
            row[f"{stage}/step"] = event["step"]
            run.log(row)
        elif event["event"] == "end" and run is not None:
            run.summary["status"] = event["status"]
    if run is not None:
        run.finish()


if __name__ == "__main__":
    main()
