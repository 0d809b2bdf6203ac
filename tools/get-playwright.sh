#!/bin/sh
# get-playwright.sh: make sure that Playwright for Python is there, which drives Debian's chromium in
# tests, and print the folder to import it from: ${XDG_CACHE_HOME:-~/.cache}/selvage-tests/. From PyPI
# (46 MB, Apache-2.0); no browser is downloaded.
set -eu
version=1.65.2
folder=${XDG_CACHE_HOME:-$HOME/.cache}/selvage-tests/playwright-$version
if [ ! -d "$folder" ]; then
    mkdir -p "$(dirname "$folder")"
    work=$(mktemp -d "$folder.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    echo "downloading Playwright $version (46 MB) ..." >&2
    python3 -m pip install --quiet --disable-pip-version-check --only-binary :all: -t "$work/files" playwright==$version >&2
    mv "$work/files" "$folder"
fi
echo "$folder"
