#!/bin/sh
# run.sh SELVAGE FOLDER SIZES MIXES [compare.py's options]: makes what is missing in FOLDER (the
# peer, models of random weights) and compares on all of them. `make bench-peers` calls it.
set -eu
here=$(dirname "$0")
selvage=$1
folder=$2
sizes=$3
mixes=$4
shift 4
peer=$("$here/build.sh" "$folder")
models=$folder/smollm2-135m-instruct-q4_1.gguf # the published one, by a name that tells
ln -sf "$("$here/../../tools/get-model.sh" "$selvage")" "$models"
for size in $sizes; do
    for mix in $mixes; do
        model=$folder/$size-$mix.gguf
        # 576 columns do not divide into blocks of 256
        [ "$size $mix" = "smollm2-135m q4_k_m" ] && continue
        if [ ! -e "$model" ]; then
            python3 "$here/../big_model.py" "$size" "$mix" "$model.part"
            mv "$model.part" "$model"
        fi
        models="$models $model"
    done
done
# shellcheck disable=SC2086
exec python3 "$here/compare.py" "$selvage" --own --peer "llama.cpp=$peer" "$@" $models
