#!/usr/bin/env python3
"""random_adapter.py MODEL OUT.gguf [RANK] [f32|f16]: a LoRA adapter of random numbers for every matrix of a
model's layers, to try one and to measure what it costs. MODEL is a GGUF file or a name that `selvage list` shows.
It needs numpy and gguf: pip install numpy gguf"""
import json
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
from gguf import GGUFReader, GGUFWriter


def path_of(model):
    """A file, or that of a name in the local store."""
    if os.path.exists(model):
        return model
    built = pathlib.Path(__file__).resolve().parent.parent / "build" / "selvage"
    program = str(built) if built.exists() else shutil.which("selvage")
    if not program:
        sys.exit(f"{model}: no such file, and no selvage to ask for a model of that name: make")
    models = json.loads(subprocess.run([program, "list", "--json"], check=True, capture_output=True).stdout)["models"]
    path = next((m["path"] for m in models if m["name"] == model), None)
    return path or sys.exit(f"{model}: no such file, and no model in the store: selvage list")


def main(model, out, rank="16", kind="f32"):
    reader, rng = GGUFReader(path_of(model)), np.random.default_rng(1)
    rank, kind = int(rank), {"f32": np.float32, "f16": np.float16}[kind]
    writer = GGUFWriter(out, reader.fields["general.architecture"].contents())
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 2.0 * rank)
    for t in reader.tensors:
        if not t.name.startswith("blk.") or len(t.shape) != 2:
            continue
        cols, rows = (int(n) for n in t.shape)
        a, b = rng.normal(0, cols ** -0.5, (rank, cols)), rng.normal(0, 0.005, (rows, rank))
        writer.add_tensor(f"{t.name}.lora_a", a.astype(kind))
        writer.add_tensor(f"{t.name}.lora_b", b.astype(kind))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
