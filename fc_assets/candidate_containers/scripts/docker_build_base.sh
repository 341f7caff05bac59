#!/usr/bin/env bash
# Tools every container needs. Runs as root in a Debian-based Python image.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
apt=(apt-get -q -o APT::Sandbox::User=root)
"${apt[@]}" update
"${apt[@]}" install -y --no-install-recommends build-essential ca-certificates git
rm -rf /var/lib/apt/lists/*
python -m pip install --no-cache-dir --root-user-action ignore "uv==$FC_UV_VERSION"
mkdir -p "$FC_ROOT"
