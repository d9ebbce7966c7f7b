#!/usr/bin/env bash
# Makes the tables in verification.md anew: `docs/verification.sh PART…`, without one all of them (five hours or
# more on two processors, most of it the planted bugs). Each part is the output of one command, which stands above it on the page.
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
    sample) sample posthole-protocol "-p posthole-tests ${virtual[*]/#/--test }" ;;
    runtimes) sample "posthole-runtime posthole-blocking posthole-smol" "-p posthole-tests --test conformance --test pieces" \
        "-p posthole-blocking -p posthole-smol --tests --features posthole-blocking/tiny_http" ;;
    coverage) coverage ;;
    *) echo "no such part: $1" >&2 && exit 2 ;;
    esac
}

# name: STATES states, UNIQUE unique, BOUNDS
table() {
    echo "| search | states | unique | bounds |"
    echo "| --- | --- | --- | --- |"
    sed 's/^\([a-z]*\): \([0-9]*\) states, \([0-9]*\) unique, Bounds { trouble: Trouble { \(.*\) }, direct: \([a-z]*\), requests: \([0-9]*\) }$/| \1 | \2 | \3 | \4, direct: \5, requests: \6 |/'
}

# The tests in virtual time, as the example that plants bugs lists them.
mapfile -t virtual < <(sed -n '/^const VIRTUAL/s/"/\n/gp' tests/examples/mutants.rs | grep -x '[a-z_]*')

# A hundredth of what cargo-mutants plants in PACKAGES (SAMPLE says which), and which of it tests don't find: first their own, by
# cargo-mutants, then for what is left those of each further line, in a copy. Needs cargo-mutants and jq.
# sample PACKAGES ARGUMENTS-OF-CARGO-TEST...
sample() {
    local out name file diff line all missed=() packages=() limit=1200 longest=0
    cargo mutants --version >/dev/null || { echo "a sample needs cargo install cargo-mutants" >&2; exit 1; }
    for name in $1; do
        packages+=(-p "$name" --test-package "$name")
    done
    shift
    out=$(mktemp -d)
    cargo mutants "${packages[@]}" --sharding round-robin --shard "${SAMPLE:-5}/100" --baseline skip --timeout 150 -o "$out" \
        -- --lib >/dev/null || true
    all=$(cat "$out"/mutants.out/{caught,missed,timeout}.txt | wc -l)
    git clone -q . "$out/tree"
    export CARGO_TARGET_DIR=$PWD/target/sample
    for line in "$@"; do
        finds "$out/tree" "$line --no-run" || SECONDS=0
        finds "$out/tree" "$line" && echo "without any bug tests fail: cargo test $line" >&2 && exit 1
        longest=$((SECONDS > longest ? SECONDS : longest))
    done
    # What takes three times as long, and what is built anew, does not end.
    limit=$((3 * longest + 300))
    while IFS=$'\t' read -r name file diff; do
        git -C "$out/tree" checkout -q .
        patch -s "$out/tree/$file" "$out/mutants.out/$diff"
        for line in "$@"; do
            finds "$out/tree" "$line" && continue 2
        done
        missed+=("$name")
    done < <(jq -r '.outcomes[] | select(.summary == "MissedMutant")
        | [.scenario.Mutant.name, .scenario.Mutant.file, .diff_path] | @tsv' "$out/mutants.out/outcomes.json")
    rm -r "$out"
    echo "- of $all planted bugs that compile $((all - ${#missed[@]})) were caught and ${#missed[@]} were missed"
    ((${#missed[@]} == 0)) || printf -- '- missed: `%s`\n' "${missed[@]}"
}

# Whether tests in TREE fail, or don't end within so many seconds as `limit` is.
# finds TREE ARGUMENTS
finds() {
    local line
    read -ra line <<<"$2"
    ! (cd "$1" && timeout "$limit" cargo test -q "${line[@]}" </dev/null >/dev/null 2>&1)
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
