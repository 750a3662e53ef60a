#!/usr/bin/env bash
# The programs outside Python and npm that tests start: installed when this may, else named.
set -euo pipefail

missing=()
for program in chromium curl prometheus redis-server; do
    command -v "$program" >/dev/null || missing+=("$program")
done
# Debian keeps the server's programs off the path, in a folder for each version.
compgen -G "/usr/lib/postgresql/*/bin/postgres" >/dev/null || missing+=("postgresql")

[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    echo "installing for the tests: ${missing[*]}"
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        "${missing[@]}"; } >/dev/null
else
    echo "The tests start programs that are not installed: ${missing[*]}." >&2
    echo "On Debian: sudo apt-get install ${missing[*]}" >&2
    exit 1
fi
