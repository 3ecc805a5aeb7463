"""What integers cost in accuracy: similarity scores of ONNX Runtime's int8 model against its f32 model.

    python benches/peers/int8.py MODEL_DIR PAIRS.jsonl...      lines {"a", "b", "same"}; the first 3,000 of each file

One line per file: the area under the ROC curve of either, and the root mean square of the difference of their scores.
"""

import json
import pathlib
import subprocess
import sys

import numpy as np
from tokenizers import Tokenizer

PAIRS = 3000
WINDOW = 256


def area(scores, same):
    ranks = np.empty(len(scores))
    ranks[np.argsort(scores, kind="stable")] = np.arange(1, len(scores) + 1)
    positives = same.sum()
    return (ranks[same].sum() - positives * (positives + 1) / 2) / (positives * (len(same) - positives))


def main():
    folder, files = sys.argv[1], sys.argv[2:]
    tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
    tokenizer.no_padding()
    tokenizer.enable_truncation(WINDOW)
    script = pathlib.Path(__file__).with_name("embed.py")
    peers = subprocess.Popen([sys.executable, script, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    peers.stdout.readline()

    def vectors(engine, ids):
        peers.stdin.write(json.dumps({"engine": engine, "texts_ids": ids}) + "\n")
        peers.stdin.flush()
        return json.loads(peers.stdout.readline())["vectors"]

    for file in files:
        rows = [json.loads(line) for line in open(file, encoding="utf-8")][:PAIRS]
        ids = [tokenizer.encode(text).ids for row in rows for text in (row["a"], row["b"])]
        scores = {}
        for engine in ("ort-f32", "ort-int8"):
            rows_of = [vector for at in range(0, len(ids), 200) for vector in vectors(engine, ids[at : at + 200])]
            both = np.array(rows_of)
            scores[engine] = (both[0::2] * both[1::2]).sum(axis=1)
        same = np.array([bool(row["same"]) for row in rows])
        areas = [area(scores[engine], same) for engine in scores]
        apart = scores["ort-int8"] - scores["ort-f32"]
        print(
            f"{pathlib.Path(file).name} n {len(rows)} AUC f32 {areas[0]:.4f} int8 {areas[1]:.4f}"
            f" rms {np.sqrt((apart**2).mean()):.4f} max {np.abs(apart).max():.4f}"
        )


main()
