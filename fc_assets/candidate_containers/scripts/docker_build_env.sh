#!/usr/bin/env bash
# What all commits of a repository share: system libraries and the older part of its history.
# FC_SYSTEM_PACKAGES  Debian packages, separated by blanks
# FC_INPUT/older.pack git objects up to the start of the year of the base commit; may be missing
set -euo pipefail
if [ -n "$FC_SYSTEM_PACKAGES" ]; then
    export DEBIAN_FRONTEND=noninteractive
    apt=(apt-get -q -o APT::Sandbox::User=root)
    "${apt[@]}" update
    # shellcheck disable=SC2086 -- a list of package names
    "${apt[@]}" install -y --no-install-recommends $FC_SYSTEM_PACKAGES
    rm -rf /var/lib/apt/lists/*
fi
git init --quiet --initial-branch main "$FC_ROOT/$FC_REPOSITORY"
if [ -f "$FC_INPUT/older.pack" ]; then
    git -C "$FC_ROOT/$FC_REPOSITORY" index-pack --stdin < "$FC_INPUT/older.pack"
fi
