#!/bin/sh
# masks.sh SELVAGE FOLDER SCHEMAS [option of masks.py ...]: masks beside llguidance and xgrammar, which are
# installed into FOLDER's virtual environment where they are missing. SCHEMAS: JSON Lines, packed by
# zstd or not.
set -eu
selvage=$1
folder=$2
schemas=$3
shift 3
here=$(dirname "$0")
[ -x "$folder/masks/bin/python" ] || python3 -m venv "$folder/masks"
"$folder/masks/bin/pip" -q install --disable-pip-version-check gguf tokenizers \
    'llguidance==1.9.1' 'xgrammar==0.2.8'
model=$("$here/../../tools/get-model.sh" "$selvage")
case $schemas in
*.zst)
    zstd -dqfo "$folder/schemas.jsonl" "$schemas"
    schemas=$folder/schemas.jsonl
    ;;
esac
exec "$folder/masks/bin/python" "$here/masks.py" "$selvage" "$model" "$schemas" "$@"
