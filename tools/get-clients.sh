#!/bin/sh
# get-clients.sh: make sure that the official clients of OpenAI and Anthropic are there, as PyPI has
# them, and print the path of a Python that has them: ${XDG_CACHE_HOME:-~/.cache}/selvage-clients/.
# About 20 MB are downloaded, once. jsonschema judges answers that are held to a schema.
set -eu
folder=${XDG_CACHE_HOME:-$HOME/.cache}/selvage-clients/1
if [ ! -x "$folder/bin/python3" ]; then
    mkdir -p "$(dirname "$folder")"
    work=$(mktemp -d "$folder.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    echo "downloading the clients of OpenAI and Anthropic (20 MB) ..." >&2
    python3 -m venv "$work" >&2
    "$work/bin/python3" -m pip install --quiet --disable-pip-version-check \
        openai==3.54.0 anthropic==2.12.0 jsonschema==4.23.0 >&2
    mv -T "$work" "$folder" 2>/dev/null || [ -x "$folder/bin/python3" ] # somebody else was quicker
fi
echo "$folder/bin/python3"
