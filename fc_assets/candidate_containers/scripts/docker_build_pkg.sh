#!/usr/bin/env bash
# The base commit, its pinned environment and the package built from the checkout.
# FC_BASE_SHA               commit to check out; no later commit's object is ever brought in
# FC_PROJECT_ROOT           folder of the packaging metadata
# FC_INPUT/newer.pack       git objects of the base commit that older.pack lacks; may be missing
# FC_INPUT/tags             lines "name commit", for packages that take their version from git
# FC_INPUT/requirements.txt pins
# FC_REQUIREMENTS           more than the pins, as of FC_MERGED_AT, separated by blanks; may be unset
# FC_MERGED_AT              releases after it are not installed
# FC_REBUILD                set: only build the package again, from the files as they are, offline
set -euo pipefail
# Compiled files could say something else than their source, which is all that can be compared.
export PYTHONDONTWRITEBYTECODE=1
cd "$FC_ROOT/$FC_REPOSITORY"
if [ -z "${FC_REBUILD:-}" ]; then
    if [ -f "$FC_INPUT/newer.pack" ]; then
        git index-pack --stdin --fix-thin < "$FC_INPUT/newer.pack"
    fi
    git checkout --quiet --force -B main "$FC_BASE_SHA"
    while read -r name commit; do
        git update-ref "refs/tags/$name" "$commit"
    done < "$FC_INPUT/tags"
    uv venv --quiet --clear --python "$FC_PYTHON" "$FC_ROOT/venv"
fi
export VIRTUAL_ENV="$FC_ROOT/venv" PATH="$FC_ROOT/venv/bin:$PATH"
if [ -z "${FC_REBUILD:-}" ]; then
    uv pip install --no-deps --requirements "$FC_INPUT/requirements.txt"
    if [ -n "${FC_REQUIREMENTS:-}" ]; then
        # shellcheck disable=SC2086 -- a list of requirements
        uv pip install --exclude-newer "$FC_MERGED_AT" $FC_REQUIREMENTS
    fi
fi
uv pip install --no-deps --no-build-isolation --reinstall --editable "$FC_PROJECT_ROOT"
rm -rf ~/.cache/uv
