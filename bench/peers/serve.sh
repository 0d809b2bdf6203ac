#!/bin/sh
# serve.sh SELVAGE FOLDER [serve.py's options]: builds the peer where it is missing, makes a Q4_0 model
# of random weights, and compares servers on it and on the published Q4_1. `make bench-serve` calls it.
set -eu
here=$(dirname "$0")
selvage=$1
folder=$2
shift 2
bench=$("$here/build.sh" "$folder")
server=$(dirname "$bench")/llama-server
if [ ! -x "$server" ]; then
    echo "building llama-server (some minutes) ..." >&2
    build=$(dirname "$(dirname "$bench")")
    cmake -DLLAMA_BUILD_SERVER=ON "$build" >"$folder/cmake-server.log" 2>&1
    ninja -C "$build" llama-server >"$folder/ninja-server.log" 2>&1 ||
        { tail -5 "$folder/ninja-server.log" >&2; exit 1; }
fi
q4_0=$folder/smollm2-135m-q4_0.gguf
if [ ! -e "$q4_0" ]; then
    python3 "$here/../big_model.py" smollm2-135m q4_0 "$q4_0.part"
    mv "$q4_0.part" "$q4_0"
fi
for model in "$("$here/../../tools/get-model.sh" "$selvage")" "$q4_0"; do
    python3 "$here/serve.py" "$selvage" "$model" --peer "$server" "$@"
done
