#!/usr/bin/env bash
# Make the benchmarks runnable: ASV's configuration with paths and branch of this checkout, kept
# outside of it so that no file of the repository changes.
# FC_ASV_CONFIG  path of the ASV configuration in the repository
set -euo pipefail
export PYTHONDONTWRITEBYTECODE=1
"$FC_ROOT/venv/bin/python" - "$FC_ROOT/$FC_REPOSITORY" "$FC_ASV_CONFIG" "$FC_ROOT/asv.json" <<'EOF'
import json, pathlib, sys
from asv import util
checkout, source, target = sys.argv[1:]
source = pathlib.Path(checkout, source)
config = util.load_json(str(source), js_comments=True)
config.update(
    version=1,
    repo=checkout,
    dvcs="git",
    branches=["main"],
    environment_type="virtualenv",
    benchmark_dir=str((source.parent / config.get("benchmark_dir", "benchmarks")).resolve()),
    env_dir="/nonexistent",
    html_dir="/nonexistent",
)
pathlib.Path(target).write_text(json.dumps(config, indent=1))
EOF
