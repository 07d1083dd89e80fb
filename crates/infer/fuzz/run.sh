#!/bin/sh
# Fuzzes each loader for so many seconds, 60 if it isn't said, and stops at the first fault:
#
#     crates/infer/fuzz/run.sh 600 [TARGET...]
#
# `cargo install cargo-fuzz` first. What it finds interesting is kept in fuzz/corpus, files that fail in fuzz/artifacts. Each target holds
# itself to four times the file and 64 MB; -rss_limit_mb is for what escapes its allocator.
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-60}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- xgboost lightgbm sklearn dump onnx_trees net tfidf torch safetensors picture
# libFuzzer's instrumentation wants a nightly compiler, or a stable one that is told to act as one.
export RUSTC_BOOTSTRAP=1
for target; do
    case $target in
        xgboost) seeds="tests/reference/3.2.0 tests/reference/1.6.2" ;;
        lightgbm) seeds=tests/reference/lightgbm ;;
        sklearn) seeds=tests/reference/sklearn ;;
        dump) seeds=fuzz/seeds/dump ;;
        onnx_trees) seeds=tests/reference/onnx-trees ;;
        torch) seeds=tests/reference/names ;;
        safetensors) seeds=../../models/names/1 ;;
        net) seeds="tests/reference/onnx tests/reference/images" ;;
        tfidf) seeds=tests/reference/tfidf ;;
        picture) seeds=tests/reference/pictures ;;
    esac
    mkdir -p "fuzz/corpus/$target"
    # shellcheck disable=SC2086
    cargo fuzz run --sanitizer none "$target" "fuzz/corpus/$target" $seeds -- \
        -max_total_time="$seconds" -rss_limit_mb=512 -timeout=10 -max_len=262144 -print_final_stats=1
done
