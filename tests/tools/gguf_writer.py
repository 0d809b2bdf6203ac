"""What the scripts that make GGUF files for the tests share: a file's parts, written as they are told,
right or wrong, and the command line of such a script. Standard library only."""
import os
import struct
import sys

U8, I8, U16, I16, U32, I32, F32, BOOL, STR, ARR, U64, I64, F64 = range(13)
PACK = {U8: "<B", I8: "<b", U16: "<H", I16: "<h", U32: "<I", I32: "<i", F32: "<f", BOOL: "<B",
        U64: "<Q", I64: "<q", F64: "<d"}
T_F32, T_F16, T_Q4_0, T_Q8_0, T_I32 = 0, 1, 2, 8, 26


def u32(v):
    return struct.pack("<I", v)


def u64(v):
    return struct.pack("<Q", v)


def text(s, length=None):
    """A string; `length` overrides the length it claims."""
    raw = s if isinstance(s, bytes) else s.encode()
    return u64(len(raw) if length is None else length) + raw


def value(kind, v):
    return text(v) if kind == STR else struct.pack(PACK[kind], v)


def kv(key, kind, v, key_length=None):
    return text(key, key_length) + u32(kind) + value(kind, v)


def array(key, kind, items, count=None):
    body = b"".join(value(kind, v) for v in items)
    return text(key) + u32(ARR) + u32(kind) + u64(len(items) if count is None else count) + body


def tensor(name, dims, kind, offset, n_dims=None, name_length=None):
    return (text(name, name_length) + u32(len(dims) if n_dims is None else n_dims)
            + b"".join(u64(d) for d in dims) + u32(kind) + u64(offset))


def gguf(kvs, tensors=(), data=b"", version=3, n_kv=None, n_tensors=None, align=32, pad=True):
    head = (b"GGUF" + u32(version) + u64(len(tensors) if n_tensors is None else n_tensors)
            + u64(len(kvs) if n_kv is None else n_kv) + b"".join(kvs) + b"".join(tensors))
    return head + bytes(-len(head) % align if pad else 0) + data


def command(doc, files):
    """FOLDER [STAMP]: files() yields (name, bytes, line or ""); FOLDER gets all of them and the
    lines as manifest.txt, STAMP is an empty file written when all is done."""
    if len(sys.argv) not in (2, 3):
        sys.exit(doc)
    folder = sys.argv[1]
    os.makedirs(folder, exist_ok=True)
    lines = []
    for name, data, line in files():
        with open(os.path.join(folder, f"{name}.gguf"), "wb") as f:
            f.write(data)
        lines.append(line)
    with open(os.path.join(folder, "manifest.txt"), "w") as f:
        f.writelines(lines)
    if len(sys.argv) == 3:
        open(sys.argv[2], "w").close()
