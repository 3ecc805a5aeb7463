"""How long other libraries take to find the nearest of the same vectors: hnswlib and usearch, one thread.

    sluice bench index --dump DIR          # writes the vectors
    python -m venv .venv && .venv/bin/pip install numpy==2.* hnswlib==0.8.0 usearch==2.*
    .venv/bin/python index.py DIR [--n 1000,10000]

Prints one JSON object per library and number of vectors. Both build with 16 links per vector and 200 candidates, and
search with the fewest candidates of 32, 64, 128, 256, 512 whose recall@1 is at least 0.99, for 8 neighbours. The times
hold the call from Python, about 1 to 3 microseconds.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[threads] = "1"

import hnswlib  # noqa: E402
import numpy as np  # noqa: E402
from usearch.index import Index  # noqa: E402

LINKS, BUILD_CANDIDATES, NEIGHBOURS, ROUNDS = 16, 200, 8, 5


def hnswlib_search(base):
    index = hnswlib.Index(space="ip", dim=base.shape[1])
    index.init_index(max_elements=len(base), M=LINKS, ef_construction=BUILD_CANDIDATES)
    index.set_num_threads(1)
    index.add_items(base, np.arange(len(base)), num_threads=1)
    return index.set_ef, lambda query: index.knn_query(query, k=NEIGHBOURS, num_threads=1)[0][0]


def usearch_search(base):
    index = Index(
        ndim=base.shape[1], metric="ip", dtype="f32", connectivity=LINKS, expansion_add=BUILD_CANDIDATES
    )
    index.add(np.arange(len(base)), base, threads=1)

    def set_candidates(candidates):
        index.expansion_search = candidates

    return set_candidates, lambda query: index.search(query, NEIGHBOURS, threads=1).keys


def median_us(search, queries):
    """The median of the best round, and the 99th percentile of the same one."""
    rounds = []
    for _ in range(ROUNDS):
        times = []
        for query in queries:
            start = time.perf_counter()
            search(query)
            times.append((time.perf_counter() - start) * 1e6)
        times.sort()
        rounds.append((times[len(times) // 2], times[len(times) * 99 // 100]))
    return min(rounds)


def measure(name, build, base, queries, truth):
    start = time.perf_counter()
    set_candidates, search = build(base)
    load = time.perf_counter() - start
    for candidates in (32, 64, 128, 256, 512):
        set_candidates(candidates)
        recall = sum(int(search(q)[0]) == t for q, t in zip(queries, truth)) / len(queries)
        if recall >= 0.99:
            break
    p50, p99 = median_us(search, queries)
    return {
        "index": name,
        "n": len(base),
        "k": NEIGHBOURS,
        "ef": candidates,
        "recall_at_1": round(recall, 3),
        "p50_us": round(p50, 1),
        "p99_us": round(p99, 1),
        "insert_us": round(load * 1e6 / len(base), 1),
        "load_s": round(load, 3),
    }


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--n", help="numbers of vectors, with commas between; by default those of the dump")
    args = arguments.parse_args()
    about = json.loads((args.folder / "index.json").read_text())
    read = lambda name: np.fromfile(args.folder / name, dtype="<f4").reshape(-1, about["dimensions"])
    vectors, queries = read("vectors.f32"), read("queries.f32")
    sizes = [int(n) for n in args.n.split(",")] if args.n else about["n"]
    for n in sizes:
        if n > len(vectors):
            sys.exit(f"--n {n}: the dump has {len(vectors)} vectors")
        base = vectors[:n]
        truth = [int(np.argmax(base @ query)) for query in queries]
        for name, build in (("hnswlib", hnswlib_search), ("usearch", usearch_search)):
            print(json.dumps(measure(name, build, base, queries, truth)), flush=True)


if __name__ == "__main__":
    main()
