#!/usr/bin/env python3
"""requantize.py MODEL.gguf OUT.gguf: the same model with all matrices of its layers as Q4_0, for measuring
that type on a model that writes text (PyPI packages gguf, numpy).

The mix is that of llama.cpp's quantizer under the name q4_0: what makes the logits, which is the table of
embeddings where there is no other, keeps more bits. It is left as it is in MODEL, as are vectors. Going from
one four-bit type to another costs quality: the file is for speed only. The same bytes every time."""
import sys

from gguf import GGMLQuantizationType as Type, GGUFReader, GGUFValueType as Value, GGUFWriter
from gguf.quants import dequantize, quantize

Q4_0_FILE = 2  # general.file_type


def copy_metadata(reader, writer):
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture":
            continue  # of the header, or written by the writer
        kind = field.types[0]
        of = field.types[-1] if kind == Value.ARRAY else None
        value = Q4_0_FILE if field.name == "general.file_type" else field.contents()
        writer.add_key_value(field.name, value, kind, sub_type=of)


def main(model, out):
    reader = GGUFReader(model)
    writer = GGUFWriter(out, reader.fields["general.architecture"].contents())
    copy_metadata(reader, writer)
    for t in reader.tensors:
        if len(t.shape) == 2 and t.name.startswith("blk."):
            data = quantize(dequantize(t.data, t.tensor_type), Type.Q4_0)
            writer.add_tensor(t.name, data, raw_dtype=Type.Q4_0)
        else:
            writer.add_tensor(t.name, t.data, raw_dtype=t.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
