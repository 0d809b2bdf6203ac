#!/bin/sh
# lint.sh BUILD: what a machine can see of the house rules. Says nothing but what is wrong.
set -u
build=$1
failed=0
section() { echo "lint: $1"; }
fail() { failed=1; }
# Fails where anything comes in, and shows the first lines of it.
nothing() { bad=$(head -40) && [ -z "$bad" ] || { echo "$bad"; fail; }; }

section "layering"
python3 tools/layering.py || fail

section "format"
nothing <<FOUND
$(git ls-files '*.c' '*.h' | xargs -P 2 -n 20 clang-format --dry-run -Werror 2>&1 | grep -E 'error:')
FOUND

section "every header compiles alone, in C and C++ where it is public"
for header in $(git ls-files 'src/*.h' | grep -v '/simd/'); do
    gcc -std=gnu11 -fsyntax-only -Wall -Wextra -Werror -Iinclude -Isrc -I"$build" -x c "$header" || fail
done
for header in include/*.h; do
    g++ -std=c++11 -fsyntax-only -Wall -Wextra -Werror -Iinclude -x c++ "$header" || fail
done

section "sizes: lines of 100 columns, files of 1,000 lines"
git ls-files '*.c' '*.h' | python3 -c '
import sys
bad = [f"{path}:{n}: {len(line)} columns" for path in sys.stdin.read().split()
       for n, line in enumerate(open(path, encoding="utf-8").read().split("\n"), 1) if len(line) > 100]
print("\n".join(bad), end="\n" if bad else "")
sys.exit(bool(bad))' || fail
for file in $(git ls-files '*.c' '*.h' '*.py' '*.sh'); do
    lines=$(wc -l <"$file")
    [ "$lines" -le 1000 ] || head -20 "$file" | grep -qi 'lines because' || { echo "$file: $lines lines"; fail; }
done

section "library rooms neither print, exit nor abort"
for room in base format kernel engine trust net store serve; do
    grep -nE '\b(printf|puts|putchar|exit|abort|perror)\(' src/$room/*.c | grep -vE '\b(snprintf|vsnprintf|_exit)\(' && fail
done

section "words"
git ls-files '*.md' '*.c' '*.h' '*.py' '*.sh' Makefile | grep -v '^tests/\|pretok' |
    xargs codespell -q 3 -L 'ser,fo,te,ans,nd,hist,ot,caf,aks' || fail

section "metrics of the dashboard and the alerts"
python3 tools/check-metrics.py || fail

section "commit subjects"
git log --no-merges --format='%h %s' -n 50 | awk '{
    subject = substr($0, index($0, " ") + 1)
    if (subject !~ /^[a-z.]+: / || length(subject) > 80 || subject ~ /\.$/) { print; bad = 1 }
} END { exit bad }' || fail

section "clang-tidy"
nothing <<FOUND
$(git ls-files 'src/*.c' | grep -v '/arm/' | xargs -P 2 -n 4 clang-tidy -p "$build" --quiet 2>/dev/null |
    grep -E 'warning:|error:' | sort -u)
FOUND
exit $failed
