# A thin front for Meson. `make run` and `make test` are all a newcomer types; both install what is
# missing first (tools/packages lists it).
BUILD = build
PROMPT = What is the capital of France? Answer in one sentence.
SETUP = meson setup $(BUILD) --buildtype=release -Dwerror=true -Dtests=false
NINJA = ninja -C $(BUILD)

all: $(BUILD)/build.ninja
	@$(NINJA) --quiet

$(BUILD)/build.ninja:
	@tools/deps.sh build
	@$(SETUP) >/dev/null || { $(SETUP); exit 1; }

deps:
	@tools/deps.sh build model test

# Downloads, once: compiler and libraries (about 70 MB on a bare Debian 12) and the model (92 MB).
run:
	@tools/deps.sh build model
	@[ -x $(BUILD)/selvage ] || echo "compiling: some minutes on two cores, once ..." >&2
	@$(MAKE) --no-print-directory all
	@tools/get-model.sh $(BUILD)/selvage >/dev/null
	@echo "> $(PROMPT)"
	@$(BUILD)/selvage run smollm2:135m-instruct "$(PROMPT)" -n 160

# Downloads, once, besides: cmocka, a C++ compiler, and an ARM compiler with an emulator (about 140 MB);
# a model of embeddings (84 MB), and the clients of OpenAI and Anthropic (20 MB).
test: deps $(BUILD)/build.ninja
	@[ -d $(BUILD)/tests ] || meson configure $(BUILD) -Dtests=true
	@$(NINJA) --quiet
	@model=$$(tools/get-model.sh $(BUILD)/selvage) && encoder=$$(tools/get-encoder.sh) && \
	    clients=$$(tools/get-clients.sh) && suite=$$(tools/get-suite.sh) && SLV_TEST_MODEL=$$model \
	    SLV_TEST_ENCODER=$$encoder SLV_TEST_CLIENTS=$$clients SLV_TEST_SUITE=$$suite \
	    tools/test.sh $(BUILD) --no-suite full

# Longer: fuzzers, sanitizers, valgrind, and the comparisons with other programs where they are
# installed (SLV_LLAMA_SRC, SLV_LIBLLAMA).
test-full: test
	@tools/deps.sh full
	@model=$$(tools/get-model.sh $(BUILD)/selvage) && encoder=$$(tools/get-encoder.sh) && \
	    clients=$$(tools/get-clients.sh) && playwright=$$(tools/get-playwright.sh) && \
	    suite=$$(tools/get-suite.sh) && SLV_TEST_MODEL=$$model SLV_TEST_ENCODER=$$encoder \
	    SLV_TEST_CLIENTS=$$clients SLV_TEST_SUITE=$$suite SLV_TEST_PLAYWRIGHT=$$playwright \
	    tools/test-full.sh

# Ten minutes of clients that come, go, break off and send rubbish.
soak: test
	@model=$$(tools/get-model.sh $(BUILD)/selvage) && \
	    SLV_TEST_MODEL=$$model python3 tests/http/soak.py $(BUILD)/selvage 600 16

# Servers side by side, beside llama-server, built here once: PEERS="--rounds 5 --what streams,prefix"
bench-serve: all
	@tools/deps.sh peers
	@bench/peers/serve.sh $(BUILD)/selvage "$(PEERS_DIR)" $(PEERS)

# What a core applies of others' writes; many nodes in virtual time; a shard as processes on this machine: a write to all, a death,
# the idle; leaders that die.
bench-mesh: all
	@ninja -C $(BUILD) --quiet bench_apply bench_pack bench_shard
	@$(BUILD)/bench_apply
	@$(BUILD)/bench_pack measure
	@$(BUILD)/bench_shard round
	@$(BUILD)/bench_shard spread 32 100 300 1000
	@$(BUILD)/bench_shard heal
	@python3 bench/mesh/lan.py $(BUILD)/selvage
	@python3 bench/mesh/failover.py $(BUILD)/selvage

# Five processes in network namespaces: cut in two, healed, their leader killed; every step timed, and drawn as an SVG.
demo-mesh: all
	@python3 bench/mesh/demo.py $(BUILD)/selvage $(BUILD)/demo-mesh.svg

debug:
	@tools/deps.sh build
	@tools/deps.sh test
	@[ -d build-debug ] || meson setup build-debug --buildtype=debugoptimized \
	    -Db_sanitize=address,undefined -Dwerror=true >/dev/null
	@ninja -C build-debug --quiet

bench: all
	@$(BUILD)/selvage bench "$$(tools/get-model.sh $(BUILD)/selvage)" -p 512 -n 64 --membw

# Beside llama.cpp, built here once, and any other llama-bench: PEERS="--peer 'NAME=COMMAND'".
# Models of random weights come into the same folder (7 GB in all): SIZES and MIXES name fewer.
PEERS_DIR = $(HOME)/.cache/selvage-peers
SIZES = smollm2-135m qwen2.5-1.5b
MIXES = q4_0 q8_0 q4_1 q4_k_m
bench-peers: all
	@tools/deps.sh peers
	@bench/peers/run.sh $(BUILD)/selvage "$(PEERS_DIR)" "$(SIZES)" "$(MIXES)" $(PEERS)

# Masks beside llguidance and xgrammar (PyPI), over a file of schemas with instances:
#   make bench-masks SCHEMAS=FILE.jsonl[.zst] [PEERS="--count 200 --peers llguidance"]
bench-masks: all
	@tools/deps.sh peers
	@bench/peers/masks.sh $(BUILD)/selvage "$(PEERS_DIR)" "$(SCHEMAS)" $(PEERS)

fmt:
	@tools/deps.sh lint
	@git ls-files '*.c' '*.h' | xargs clang-format -i

lint: $(BUILD)/build.ninja
	@tools/deps.sh lint
	@tools/lint.sh $(BUILD)

# Into PREFIX, which programs that link the library see too; DESTDIR stands before it for who packs.
# `make uninstall` takes away what the last `make install` of this build folder put there.
PREFIX = /usr/local
install: $(BUILD)/build.ninja
	@meson configure $(BUILD) -Dprefix="$(abspath $(PREFIX))"
	@$(NINJA) --quiet
	@DESTDIR="$(DESTDIR)" meson install -C $(BUILD) --no-rebuild

uninstall:
	@[ -f $(BUILD)/meson-logs/install-log.txt ] || { echo "nothing was installed from $(BUILD)" >&2; exit 1; }
	@ninja -C $(BUILD) --quiet uninstall

clean:
	@rm -rf build build-debug build-fuzz build-arm

.PHONY: all deps run test test-full debug bench bench-peers bench-masks bench-serve bench-mesh demo-mesh soak fmt lint \
    install uninstall clean
