#!/usr/bin/env bash
# Nothing that a client of the contracts or of the graph relies on may go away: against the main branch, or, on the
# main branch itself, against the commit before.
set -euo pipefail

base=$(git rev-parse --quiet --verify origin/main || git rev-parse --quiet --verify main || true)
if [ -z "$base" ] || git merge-base --is-ancestor HEAD "$base"; then
    base=$(git rev-parse --quiet --verify HEAD^ || true)
fi
if [ -z "$base" ]; then
    echo "nothing to compare with yet"
    exit 0
fi
buf breaking --against ".git#ref=$base"
python -m federation.supergraph.breaking "$base"
