#!/usr/bin/env bash
# Builds the fuzz targets on the stable toolchain and runs them: scripts/fuzz/run.sh SECONDS [TARGET...]
# One process per target, one after the other; findings lie in $WORK/TARGET, seeds in scripts/fuzz/seeds/TARGET.
# Needs a C++ compiler (libFuzzer is C++).
set -euo pipefail
cd "$(dirname "$0")"
seconds=${1:?seconds for each target}; shift
targets=("$@"); [ ${#targets[@]} -gt 0 ] || targets=(audio tags write_tags torch safetensors index playlist query npy lab)
work=${WORK:-$PWD/runs}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
export RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
 -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg fuzzing"
cargo build --release --target "$(rustc -vV | sed -n 's/^host: //p')" "${targets[@]/#/--bin=fuzz_}"
for target in "${targets[@]}"; do
    mkdir -p "$work/$target/corpus"
    # What earlier runs found to reach new code, made small by libFuzzer's -merge=1.
    [ ! -f "seeds/$target.tar.gz" ] || tar -C "$work/$target/corpus" -xzf "seeds/$target.tar.gz"
    seeds=(); [ -d "seeds/$target" ] && seeds=("seeds/$target")
    case $target in
        audio | tags) seeds+=(../../tests/data/audio) limit=200000 ;;
        torch | safetensors) seeds+=(../../tests/data/importers) limit=200000 ;;
        index) limit=200000 ;;
        *) limit=4096 ;;
    esac
    # Ten seconds, or half a gigabyte at once: a finding.
    (cd "$work/$target" && "$CARGO_TARGET_DIR"/*/release/"fuzz_$target" corpus "${seeds[@]/#/$OLDPWD/}" \
        -max_total_time="$seconds" -timeout=10 -malloc_limit_mb=512 -rss_limit_mb=2048 -max_len=$limit \
        -print_final_stats=1 -use_value_profile=0)
done
