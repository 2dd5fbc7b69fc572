#!/usr/bin/env python3
"""Runs `soundhash-db-bench queries` on a small data set and fails unless what it reports makes sense.

usage: check_bench.py BENCH_PROGRAM JSON_FILE      (in the environment of soundhash-db-with-postgres)
"""
import json
import pathlib
import subprocess
import sys

ITERATIONS = 3
QUERIES = ["Get channel by ID", "Get video by ID", "Get unprocessed videos (limit 100)",
           "Get pending jobs (limit 10)", "Check job exists", "Count jobs by status",
           "Find matching fingerprints"]


def require(holds, what):
    if not holds:
        sys.exit(f"soundhash-db-bench: {what}")


def check_query(query):
    name = query["name"]
    require(query["error"] == "", f"{name} failed: {query['error']}")
    require(query["verdict"] in ("PASS", "WARN", "FAIL"), f"{name}: {query['verdict']}")
    require(query["iterations"] == ITERATIONS, f"{name}: {query['iterations']} iterations")
    require(query["rows"] > 0, f"{name} found nothing")
    require(0 < query["min_ms"] <= query["median_ms"] <= query["p95_ms"] <= query["max_ms"],
            f"{name}: {query}")
    require(query["min_ms"] <= query["avg_ms"] <= query["max_ms"], f"{name}: {query}")
    by_p95 = "PASS" if query["p95_ms"] < 100 else "WARN" if query["p95_ms"] < 200 else "FAIL"
    require(query["verdict"] == by_p95, f"{name}: {query['verdict']} at {query['p95_ms']} ms")


def check_metrics(metrics, queries):
    require(metrics["total_queries"] == ITERATIONS * len(QUERIES), f"{metrics}")
    require(0 < metrics["total_duration"], f"{metrics}")
    # What the library timed is part of what the benchmark timed.
    measured = sum(query["avg_ms"] * query["iterations"] for query in queries) / 1000
    require(metrics["total_duration"] <= measured, f"{metrics}; {measured} s measured")


def main():
    program, file = sys.argv[1], pathlib.Path(sys.argv[2])
    file.unlink(missing_ok=True)
    subprocess.run([program, "queries", "--iterations", str(ITERATIONS), "--videos", "500",
                    "--fingerprints", "5000", "--json", str(file)], check=True)
    report = json.loads(file.read_text(encoding="utf-8"))
    require([query["name"] for query in report["queries"]] == QUERIES, "not the seven queries")
    for query in report["queries"]:
        check_query(query)
    check_metrics(report["metrics"], report["queries"])


main()
