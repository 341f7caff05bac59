#!/usr/bin/env bash
# One round of the measure check: some benchmarks once, in processes of their own. Short samples, as
# what differs from one process to the next averages out over the rounds only.
# FC_BENCHMARKS  regular expression of the benchmarks to run
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
exec asv run --config "$FC_OUTPUT/asv.json" --machine container --python same \
    --set-commit-hash "$FC_BASE_SHA" --bench "$FC_BENCHMARKS" \
    -a rounds=1 -a "repeat=(1, 3, 0.05)" -a warmup_time=0.01 -a sample_time=0.01
