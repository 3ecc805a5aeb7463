"""Peer of the embedding benchmark: the same model in ONNX Runtime, on one thread.

    python embed.py MODEL_DIR

MODEL_DIR holds config.json and model.safetensors. One JSON request per line on stdin, one JSON answer per line on
stdout; the first line written is {"ready": true, "engines": [...], "onnxruntime": "..."}.

    {"engine": "ort-f32", "tokens": 14, "batch": 1, "rounds": 50, "ids": [[101, ...]]}
        -> {"us": median microseconds of a call, "vector": unit vector of the first row}
    {"engine": "ort-int8", "texts_ids": [[101, ...], [101, ...]]}
        -> {"vectors": [[...], ...]}, one text per call, no padding
    anything else -> {"error": "..."}

Rows of `ids` have equal length; `tokens` and `batch`, when given, must agree with them.
"""

import json
import pathlib
import statistics
import sys
import tempfile
import time

import numpy as np
import onnx
import onnxruntime as ort
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers import optimizer

import bert_onnx

WARM_UP = 3


def write_f32(folder, target):
    """The graph as exported: ONNX Runtime fuses it when it loads it, at least as fast as the offline optimiser's."""
    model, _, _ = bert_onnx.build(folder)
    onnx.save(model, target)


def write_int8(folder, target, scratch):
    """Attention, SkipLayerNormalization and BiasGelu fused first, then weights to int8 per column, activations
    per call. The word table stays float32: it costs no time and spares accuracy."""
    model, heads, hidden = bert_onnx.build(folder)
    plain, fused = scratch / "plain.onnx", scratch / "fused.onnx"
    onnx.save(model, plain)
    optimizer.optimize_model(
        str(plain), model_type="bert", num_heads=heads, hidden_size=hidden, opt_level=0
    ).save_model_to_file(str(fused))
    quantize_dynamic(
        fused,
        target,
        op_types_to_quantize=["MatMul", "Attention"],
        per_channel=True,
        weight_type=QuantType.QInt8,
        extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
    )


def session(path):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def engines(folder):
    """Name -> session."""
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        f32, int8 = scratch / "f32.onnx", scratch / "int8.onnx"
        write_f32(folder, f32)
        write_int8(folder, int8, scratch)
        return {"ort-f32": session(f32), "ort-int8": session(int8)}


def embed(engine, ids):
    """Vectors [batch, hidden] of ids [batch, tokens]."""
    return engine.run(None, {"input_ids": ids})[0]


def as_ids(rows):
    ids = np.array(rows, np.int64)
    if ids.ndim != 2 or ids.size == 0:
        raise ValueError("ids: expected rows of equal length, at least one token each")
    return ids


def measure(engine, request):
    ids, rounds = as_ids(request["ids"]), int(request["rounds"])
    for field, size in zip(("batch", "tokens"), ids.shape):
        if request.get(field, size) != size:
            raise ValueError(f"{field}: expected {size} as in ids")
    if rounds < 1:
        raise ValueError("rounds: expected at least 1")
    for _ in range(WARM_UP):
        first = embed(engine, ids)[0]
    times = []
    for _ in range(rounds):
        start = time.perf_counter_ns()
        embed(engine, ids)
        times.append(time.perf_counter_ns() - start)
    return {"us": statistics.median(times) / 1000, "vector": first.tolist()}


def answer(known, line):
    request = json.loads(line)
    name = request.get("engine")
    if name not in known:
        raise ValueError(f"engine: expected one of {', '.join(known)}")
    if "texts_ids" in request:
        return {"vectors": [embed(known[name], as_ids([row]))[0].tolist() for row in request["texts_ids"]]}
    return measure(known[name], request)


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: python embed.py MODEL_DIR")
    out = sys.stdout
    sys.stdout = sys.stderr  # what the libraries print must not mix with the answers
    known = engines(sys.argv[1])
    print(json.dumps({"ready": True, "engines": list(known), "onnxruntime": ort.__version__}), file=out, flush=True)
    for line in sys.stdin:
        if not line.strip():
            continue
        try:
            result = answer(known, line)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            result = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(result), file=out, flush=True)


if __name__ == "__main__":
    main()
