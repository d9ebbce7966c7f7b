#!/usr/bin/env bash
# Makes the tables in verification.md anew: `docs/verification.sh PART…`, without one all of them (nearly two hours on two
# processors, most of it the planted bugs). Each part is the output of one command, which stands above it on the page.
set -euo pipefail
cd "$(dirname "$0")/.."
page=docs/verification.md

# The output of a part's command, as it stands on the page.
part() {
    case $1 in
    model) cargo test -q --release -p posthole-tests --test model -- --nocapture --test-threads 1 | sed -n 's/^\.\{0,1\}\([a-z]*: [0-9]* states.*\)$/\1/p' | table ;;
    budgets) cargo test -q -p posthole-tests --test budgets --test instructions -- --nocapture --test-threads 1 | grep -o '\(^\.*bulk:\|ping-pong:\|idle:\|lost\|instructions\).*' | sed 's/^\.*//' | sed 's/^/- /' ;;
    mutants) cargo run -q -p posthole-tests --example mutants || true ;;
    soak) cargo build -q --release -p posthole && cargo run -q --release -p posthole-tests --example soak || true ;;
    whole) cargo build -q --release -p posthole && cargo run -q --release -p posthole-tests --example soak -- whole || true ;;
    leaks) cargo run -q --release -p posthole-tests --example leaks || true ;;
    crowd) cargo run -q --release -p posthole-tests --example crowd || true ;;
    sample) sample posthole-protocol "posthole-protocol --lib" "posthole-tests ${virtual[*]/#/--test }" ;;
    runtimes) sample posthole-runtime,posthole-blocking,posthole-smol "posthole-runtime,posthole-blocking,posthole-smol --lib" \
        "posthole-tests --test conformance --test pieces" "posthole-blocking,posthole-smol --tests" ;;
    coverage) coverage ;;
    *) echo "no such part: $1" >&2 && exit 2 ;;
    esac
}

# name: STATES states, UNIQUE unique, depth DEPTH, BOUNDS
table() {
    echo "| search | states | unique | depth | bounds |"
    echo "| --- | --- | --- | --- | --- |"
    sed 's/^\([a-z]*\): \([0-9]*\) states, \([0-9]*\) unique, depth \([0-9]*\), Bounds { trouble: Trouble { \(.*\) }, direct: \([a-z]*\), requests: \([0-9]*\) }$/| \1 | \2 | \3 | \4 | \5, direct: \6, requests: \7 |/'
}

# The tests in virtual time, as the example that plants bugs lists them.
mapfile -t virtual < <(sed -n '/^const VIRTUAL/,/^];/s/^ *"\(.*\)",$/\1/p' tests/examples/mutants.rs)

# What cargo-mutants makes of PACKAGES, a hundredth of it (SAMPLE says which), and which of it tests don't find: first those of
# the first STAGE look, for what is left those of the next. Needs cargo-mutants.
# sample PACKAGES STAGE... (each: PACKAGES WITH THE TESTS -- ARGUMENTS)
sample() {
    local out name names left missed stage tests all packages=()
    for name in ${1//,/ }; do
        packages+=(-p "$name")
    done
    shift
    left=(--sharding round-robin --shard "${SAMPLE:-5}/100")
    for stage in "$@"; do
        out=$(mktemp -d)
        read -ra stage <<<"$stage"
        tests=()
        for name in ${stage[0]//,/ }; do
            tests+=(--test-package "$name")
        done
        cargo mutants "${packages[@]}" "${left[@]}" "${tests[@]}" --baseline skip --timeout 150 -o "$out" \
            -- "${stage[@]:1}" >/dev/null || true
        if [ -z "${all:-}" ]; then
            all=$(cat "$out"/mutants.out/{caught,missed,timeout}.txt | wc -l)
        fi
        missed=$(cat "$out/mutants.out/missed.txt")
        rm -r "$out"
        [ -n "$missed" ] || break
        mapfile -t left < <(sed 's/[][\.*^$+?{}()|]/\\&/g; s/.*/--re=^&$/' <<<"$missed")
    done
    names=$(sed '/^$/d; s/.*/- missed: `&`/' <<<"$missed")
    missed=$(sed '/^$/d' <<<"$missed" | wc -l)
    echo "- of $all planted bugs that compile $((all - missed)) were caught and $missed were missed"
    [ -z "$names" ] || echo "$names"
}

# Lines of the core that its own tests and those in virtual time run. Needs cargo-llvm-cov and Debian's llvm-22.
coverage() {
    local tests=()
    for test in "${virtual[@]}"; do
        tests+=(--test "$test")
    done
    CARGO_LLVM_COV_SETUP=no LLVM_COV=/usr/bin/llvm-cov-22 LLVM_PROFDATA=/usr/bin/llvm-profdata-22 \
        cargo llvm-cov -q --summary-only -p posthole-protocol -p posthole-tests --lib "${tests[@]}" |
        awk '/^TOTAL/ { print "- " $10 " of the " $8 " lines of `protocol` (" $9 " not)" }'
}

for name in "${@:-model budgets soak whole leaks crowd mutants}"; do
    for one in $name; do
        out=$(mktemp)
        part "$one" >"$out"
        awk -v begin="<!-- $one -->" -v end="<!-- end -->" -v file="$out" '
            $0 == begin { print; print ""; while ((getline line < file) > 0) print line; print ""; skip = 1; next }
            $0 == end { skip = 0 }
            !skip { print }
        ' "$page" >"$page.new"
        mv "$page.new" "$page"
        rm -f "$out"
        echo "$one is new" >&2
    done
done
