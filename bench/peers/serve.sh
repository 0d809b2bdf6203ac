#!/bin/sh
# serve.sh SELVAGE FOLDER [serve.py's options]: builds the peer where it is missing, makes a Q4_0 of the
# published Q4_1 (models of random weights write no text, by which the client counts tokens), and
# compares servers on both. `make bench-serve` calls it.
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
q4_1=$folder/smollm2-135m-instruct-q4_1.gguf # the store's file, under a name
q4_0=$folder/smollm2-135m-instruct-q4_0.gguf
ln -sfn "$("$here/../../tools/get-model.sh" "$selvage")" "$q4_1"
if [ ! -e "$q4_0" ]; then
    [ -x "$folder/venv/bin/python" ] || python3 -m venv "$folder/venv"
    "$folder/venv/bin/pip" -q install --disable-pip-version-check 'gguf==0.19.0'
    "$folder/venv/bin/python" "$here/../requantize.py" "$q4_1" "$q4_0.part"
    mv "$q4_0.part" "$q4_0"
fi
python3 "$here/serve.py" "$selvage" "$q4_1" --peer "$server" --bar 4 "$@"
python3 "$here/serve.py" "$selvage" "$q4_0" --peer "$server" --bar 3 "$@"
