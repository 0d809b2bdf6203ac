#!/bin/sh
# test-full.sh: what `make test` leaves out: the comparisons with other programs (skipped where they
# are not installed), sanitizers over all tests, fuzzers for a minute each, valgrind on one run.
set -eu
seconds=${FUZZ_SECONDS:-60}
failed=0
tools/test.sh build --suite full || failed=1

echo "== ASan and UBSan"
make --no-print-directory debug
SLV_CPU=avx2 tools/test.sh build-debug --no-suite full --timeout-multiplier 10 || failed=1

echo "== fuzzers, $seconds s each"
[ -d build-fuzz ] || CC=clang meson setup build-fuzz -Dfuzz=true --buildtype=debugoptimized \
    -Db_lundef=false >/dev/null
ninja -C build-fuzz --quiet
for target in gguf engine adapter packfile schema grammar snapshot template tokenizer safetensors hf_tokenizer attest audit seal sign http dtls ask mesh replica link swim strong transport records; do
    dict=
    length=16384
    case $target in
    gguf) seeds=hostile_gguf length=65536 ;;
    engine) seeds=hostile_gguf length=131072 ;;
    adapter) seeds=adapters length=65536 ;;
    packfile | snapshot) seeds=hostile_gguf ;;
    schema) seeds=schema_corpus dict=tests/fuzz/schema.dict ;;
    grammar) seeds=grammar_corpus dict=tests/fuzz/grammar.dict ;;
    template) seeds=template_corpus dict=tests/fuzz/template.dict ;;
    http) seeds=http_corpus ;;
    mesh) seeds=mesh_corpus ;;
    replica) seeds=replica_corpus ;;
    link) seeds=link_corpus ;;
    strong) seeds=strong_corpus ;;
    records) seeds=records_corpus length=32768 ;;
    dtls) seeds=dtls_corpus length=4096 ;;
    swim) seeds=swim_corpus ;;
    transport) seeds=transport_corpus length=4200 ;;
    ask) seeds=ask_corpus dict=tests/fuzz/json.dict ;;
    attest | audit | seal | sign) seeds=trust_corpus/$target ;;
    tokenizer) seeds=hostile_text dict=tests/fuzz/tokenizer.dict ;;
    safetensors) seeds=hf_corpus/safetensors dict=tests/fuzz/json.dict ;;
    hf_tokenizer) seeds=hf_corpus/tokenizer dict=tests/fuzz/json.dict length=65536 ;;
    esac
    mkdir -p .cache/fuzz/$target .cache/fuzz/crashes
    build-fuzz/tests/fuzz/fuzz_$target -max_total_time="$seconds" -max_len=$length -timeout=20 \
        -rss_limit_mb=1500 -print_final_stats=1 -artifact_prefix=.cache/fuzz/crashes/$target- \
        ${dict:+-dict=$dict} .cache/fuzz/$target build-fuzz/tests/$seeds \
        >.cache/fuzz/$target.log 2>&1 || { failed=1; tail -20 .cache/fuzz/$target.log; }
    grep -h 'number_of_executed_units' .cache/fuzz/$target.log | sed "s/^/$target /"
done

echo "== valgrind"
SLV_CPU=avx2 valgrind --quiet --error-exitcode=9 --leak-check=full build/selvage run \
    build/tests/hostile_gguf/ok-llama.gguf --raw "hello" -n 4 -t 2 >/dev/null || failed=1
exit $failed
