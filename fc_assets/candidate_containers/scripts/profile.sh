#!/usr/bin/env bash
# Run every benchmark once; ASV's result files go to FC_OUTPUT. What they say is read by the host.
set -euo pipefail
export HOME="$FC_OUTPUT/home" PATH="$FC_ROOT/venv/bin:$PATH"
mkdir -p "$HOME"
cd "$FC_ROOT/$FC_REPOSITORY"
python - "$FC_ROOT/asv.json" "$FC_OUTPUT" <<'EOF'
import json, pathlib, sys
source, output = sys.argv[1:]
config = json.loads(pathlib.Path(source).read_text())
config["results_dir"] = f"{output}/results"
pathlib.Path(output, "asv.json").write_text(json.dumps(config))
EOF
asv machine --config "$FC_OUTPUT/asv.json" --machine container --yes
exec asv run --config "$FC_OUTPUT/asv.json" --machine container --python same --quick \
    --set-commit-hash "$FC_BASE_SHA" --show-stderr
