"""Tells MLflow what r1 measures.

In a graph:   graph [tracker="command(python3 r1_mlflow.py --experiment my-experiment)"];
Offline:      MLFLOW_TRACKING_URI=file:mlruns (or sqlite:///mlflow.db) needs no server.

Reads the JSON lines that r1-run gives a tracker (docs/formats.md, "What a tracker is told") on stdin. Metrics are STAGE/NAME and
STAGE/held_out/NAME at the stage's own steps. A run that is continued goes on in the same MLflow run. Needs the package mlflow.
"""

import argparse
import json
import os
import re
import sys

STATUS = {"done": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}


def metric_name(name):
    """MLflow refuses other characters: "repetition(3)" is "repetition_3_"."""
    return re.sub(r"[^A-Za-z0-9_\-. :/]", "_", name)


def earlier_run(mlflow, where):
    """The id of the MLflow run of the same run directory, if there is one."""
    found = mlflow.search_runs(filter_string=f"tags.r1_run_dir = '{where}'", max_results=1, output_format="list")
    return found[0].info.run_id if found else None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiment", default="r1")
    parser.add_argument("--name", help="of the run; default: the name of its directory")
    args = parser.parse_args()
    import mlflow

    started, status = False, "FINISHED"
    for line in sys.stdin:
        event = json.loads(line)
        if event["event"] == "run":
            if started:
                continue
            where = event["run_dir"]
            mlflow.set_experiment(args.experiment)
            earlier = earlier_run(mlflow, where) if event["continued"] else None
            if earlier:
                mlflow.start_run(run_id=earlier)
            else:
                mlflow.start_run(run_name=args.name or os.path.basename(where.rstrip("/")), tags={"r1_run_dir": where})
                mlflow.log_params({"graph": event["graph"], "seed": event["seed"]})
            started = True
        elif event["event"] in ("batch", "held_out"):
            prefix = event["stage"] if event["event"] == "batch" else event["stage"] + "/held_out"
            mlflow.log_metrics({metric_name(f"{prefix}/{n}"): v for n, v in event["metrics"].items()}, step=event["step"])
        elif event["event"] == "end":
            status = STATUS.get(event["status"], "FAILED")
    if started:
        mlflow.end_run(status=status)


if __name__ == "__main__":
    main()
