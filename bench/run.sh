#!/bin/sh
# run.sh SELVAGE MODEL.gguf: tokens a second of this build on this machine for 1 and 2 threads, and
# llama.cpp's beside them, interleaved, where `llama-bench` is on the PATH (or LLAMA_BENCH names it).
set -eu
selvage=$1
model=$2
rounds=${ROUNDS:-3}
peer=${LLAMA_BENCH:-$(command -v llama-bench || true)}
threads=1,2
"$selvage" bench "$model" -p 512 -n 64 -t $threads --repeat 3 --membw
[ -n "$peer" ] || { echo "(no llama-bench on the PATH: no comparison)"; exit 0; }
python3 - "$selvage" "$model" "$peer" "$threads" "$rounds" <<'P'
import json, statistics, subprocess, sys
selvage, model, peer, threads, rounds = sys.argv[1:]
def ours():
    out = json.loads(subprocess.run([selvage, "bench", model, "-p", "512", "-n", "64", "-t", threads,
                     "--repeat", "1", "--json"], capture_output=True, check=True).stdout)
    return {(r["test"], r["threads"]): r["tps_median"] for r in out["rows"]}
def theirs():
    out = json.loads(subprocess.run([peer, "-m", model, "-p", "512", "-n", "64", "-t", threads, "-r", "1",
                     "-o", "json"], capture_output=True, check=True).stdout)
    return {((f"pp{r['n_prompt']}" if r["n_prompt"] else f"tg{r['n_gen']}"), r["n_threads"]): r["avg_ts"]
            for r in out}
mine, their = {}, {}
for _ in range(int(rounds)):
    for table, run in ((mine, ours), (their, theirs)):
        for key, value in run().items():
            table.setdefault(key, []).append(value)
print(f"\n{'test':8} {'threads':>7} {'ours':>10} {'llama.cpp':>10} {'ratio':>6}   lowest..highest ratio of {rounds} rounds")
for key in sorted(mine):
    ratios = [a / b for a, b in zip(mine[key], their[key])]
    print(f"{key[0]:8} {key[1]:7} {statistics.median(mine[key]):10.1f} {statistics.median(their[key]):10.1f} "
          f"{statistics.median(ratios):6.2f}   {min(ratios):.2f}..{max(ratios):.2f}")
P
