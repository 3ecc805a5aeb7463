"""Writes the ONNX graph of a BERT encoder from a folder with config.json and model.safetensors.

The graph is the one an export of `BertModel` gives (separate query, key and value projections, attention spelled
out, GELU through Erf), so that ONNX Runtime's own fusions apply to it; mean pooling and normalisation to unit length
are part of the graph. Rows of a batch have equal length and no padding, therefore there is no attention mask: this
spares ONNX Runtime work that the measured task does not need.

Input `input_ids`, int64 [batch, tokens]; output `vector`, float32 [batch, hidden].
"""

import json
import pathlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors import safe_open

OPSET = 17


class Graph:
    """Nodes and weights under construction; every method returns the name of the value it makes."""

    def __init__(self):
        self.nodes, self.weights, self.count = [], [], 0

    def constant(self, array, name=None):
        self.count += 1
        name = name or f"c{self.count}"
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def op(self, kind, *inputs, **attributes):
        self.count += 1
        name = f"{kind}_{self.count}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def scalar(self, value):
        return self.constant(np.array(value, np.float32))


def read(folder):
    """The configuration and a function from a tensor's name to its float32 array."""
    folder = pathlib.Path(folder)
    config = json.loads((folder / "config.json").read_text())
    file = safe_open(folder / "model.safetensors", "np")
    prefix = "" if "embeddings.word_embeddings.weight" in file.keys() else "bert."
    return config, lambda name: file.get_tensor(prefix + name).astype(np.float32)


def linear(g, x, tensor, name):
    weight = g.constant(tensor(name + ".weight").T, name + ".weight")
    return g.op("Add", g.constant(tensor(name + ".bias"), name + ".bias"), g.op("MatMul", x, weight))


def layer_norm(g, x, tensor, name, epsilon):
    scale, bias = (g.constant(tensor(f"{name}.{part}"), f"{name}.{part}") for part in ("weight", "bias"))
    return g.op("LayerNormalization", x, scale, bias, axis=-1, epsilon=epsilon)


def embeddings(g, ids, tensor, epsilon):
    """Word + token type 0 + position, normalised."""
    words = g.op("Gather", g.constant(tensor("embeddings.word_embeddings.weight"), "words"), ids)
    kind = g.constant(tensor("embeddings.token_type_embeddings.weight")[0], "token_type")
    table = g.constant(tensor("embeddings.position_embeddings.weight"), "positions")
    tokens = g.op("Slice", g.op("Shape", ids), *(g.constant(np.array([n], np.int64)) for n in (1, 2, 0)))
    places = g.op("Slice", table, *(g.constant(np.array([0], np.int64)), tokens, g.constant(np.array([0], np.int64))))
    return layer_norm(g, g.op("Add", g.op("Add", words, kind), places), tensor, "embeddings.LayerNorm", epsilon)


def attention(g, x, tensor, layer, heads, width):
    def split(name, order):
        shape = g.constant(np.array([0, 0, heads, width], np.int64))
        projected = linear(g, x, tensor, f"{layer}.attention.self.{name}")
        return g.op("Transpose", g.op("Reshape", projected, shape), perm=order)

    query, key = split("query", [0, 2, 1, 3]), split("key", [0, 2, 3, 1])
    scores = g.op("Div", g.op("MatMul", query, key), g.scalar(np.sqrt(width)))
    mixed = g.op("MatMul", g.op("Softmax", scores, axis=-1), split("value", [0, 2, 1, 3]))
    joined = g.op("Transpose", mixed, perm=[0, 2, 1, 3])
    joined = g.op("Reshape", joined, g.constant(np.array([0, 0, heads * width], np.int64)))
    return linear(g, joined, tensor, f"{layer}.attention.output.dense")


def gelu(g, x):
    curve = g.op("Add", g.op("Erf", g.op("Div", x, g.scalar(np.sqrt(2.0)))), g.scalar(1.0))
    return g.op("Mul", g.op("Mul", x, curve), g.scalar(0.5))


def pool(g, x):
    """Mean over tokens, then unit length."""
    mean = g.op("ReduceMean", x, axes=[1], keepdims=0)
    return g.op("Div", mean, g.op("ReduceL2", mean, axes=[-1], keepdims=1))


def build(folder):
    """The model as an onnx.ModelProto."""
    config, tensor = read(folder)
    if config["hidden_act"] != "gelu" or config.get("position_embedding_type", "absolute") != "absolute":
        raise ValueError("config.json: this writer knows hidden_act gelu with absolute positions")
    hidden, heads, epsilon = config["hidden_size"], config["num_attention_heads"], config["layer_norm_eps"]
    g = Graph()
    x = embeddings(g, "input_ids", tensor, epsilon)
    for number in range(config["num_hidden_layers"]):
        layer = f"encoder.layer.{number}"
        mixed = g.op("Add", attention(g, x, tensor, layer, heads, hidden // heads), x)
        x = layer_norm(g, mixed, tensor, f"{layer}.attention.output.LayerNorm", epsilon)
        inner = gelu(g, linear(g, x, tensor, f"{layer}.intermediate.dense"))
        outer = g.op("Add", linear(g, inner, tensor, f"{layer}.output.dense"), x)
        x = layer_norm(g, outer, tensor, f"{layer}.output.LayerNorm", epsilon)
    g.nodes.append(helper.make_node("Identity", [pool(g, x)], ["vector"]))
    inputs = [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "tokens"])]
    outputs = [helper.make_tensor_value_info("vector", TensorProto.FLOAT, ["batch", hidden])]
    graph = helper.make_graph(g.nodes, "bert", inputs, outputs, g.weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    onnx.checker.check_model(model)
    return model, heads, hidden
