#!/bin/sh
# deps.sh PURPOSE...: install the Debian packages of tools/packages that are missing. Says nothing
# and downloads nothing where all are there.
set -eu
here=$(dirname "$0")
missing=
for purpose in "$@"; do
    line=$(sed -n "s/^$purpose: //p" "$here/packages")
    [ -n "$line" ] || { echo "deps.sh: no such purpose: $purpose" >&2; exit 2; }
    for package in $line; do
        status=$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true)
        [ "$status" = "install ok installed" ] || missing="$missing $package"
    done
done
[ -n "$missing" ] || exit 0
echo "installing:$missing"
sudo=
[ "$(id -u)" = 0 ] || sudo=sudo
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -qq
# shellcheck disable=SC2086
$sudo apt-get install -y -qq --no-install-recommends $missing
