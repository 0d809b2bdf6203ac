#!/bin/sh
# get-suite.sh: make sure that the JSON Schema test suite with its newest drafts is there (Debian's package
# ends with draft 7), as the sources of PyPI's jsonschema have it, and print the path of its tests:
# ${XDG_CACHE_HOME:-~/.cache}/selvage-tests/. About 0.4 MB are downloaded, once; their digest is pinned.
set -eu
folder=${XDG_CACHE_HOME:-$HOME/.cache}/selvage-tests/jsonschema-4.26.0
digest=0c26707e2efad8aa1bfc5b7ce170f3fccc2e4918ff85989ba9ffa9facb2be326
if [ ! -d "$folder" ]; then
    mkdir -p "$(dirname "$folder")"
    work=$(mktemp -d "$folder.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    echo "downloading the JSON Schema test suite (0.4 MB) ..." >&2
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --no-binary jsonschema \
        -d "$work" jsonschema==4.26.0 >&2
    echo "$digest  $work/jsonschema-4.26.0.tar.gz" | sha256sum --check --quiet >&2
    tar -xzf "$work/jsonschema-4.26.0.tar.gz" -C "$work"
    mv -T "$work/jsonschema-4.26.0" "$folder" 2>/dev/null || [ -d "$folder" ] # somebody else was quicker
fi
echo "$folder/json/tests"
