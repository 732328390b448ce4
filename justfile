# Every task a person runs. Without just on PATH: ./justw TASK

set shell := ["bash", "-euo", "pipefail", "-c"]

# the list of tasks
default:
    @just --list --unsorted --justfile {{ quote(justfile()) }}

# a registry, a broker and every role in one process, with a push to watch
demo *args:
    cargo run --release -p plimsoll -- demo {{ args }}

# every test of the workspace; a filter and cargo's arguments may follow
test *args:
    cargo test --workspace {{ args }}

# formatting and lints, as CI runs them
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings

# formats the code
fmt:
    cargo fmt --all

# makes the code of proto/ from its .proto files
gen:
    cargo run -p plimsoll-proto-generate

# fails if the committed code of proto/ is not what its .proto files give
gen-check: gen
    git diff --exit-code -- proto/src/gen
    @test -z "$(git status --porcelain -- proto/src/gen)" || { echo "proto/src/gen has files that are not committed" >&2; exit 1; }

# every bench, each against the peer or the limit that it is measured by
bench *args:
    cargo run --release -p plimsoll-loadtest -- bench all {{ args }}

# cold images: SBOMs against Syft, and against decompressing and hashing alone
bench-unpack *args:
    cargo run --release -p plimsoll-loadtest -- bench unpack {{ args }}

alias bench-sbom := bench-unpack

# the vulnerability database: opening, look-ups, matching
# as bench-match: the Db beside SQLite holding the same; --synthetic 500000 for the scale of all of OSV
bench-db *args:
    cargo run --release -p plimsoll-loadtest -- bench match {{ args }}

bench-match *args:
    cargo run --release -p plimsoll-loadtest -- bench match {{ args }}

# the policy engine: the table of sizes with the brute-force judge beside it, then parsing and building anew at one size
# with arguments, a part of it: brute 100 50, row 3000 5000, 10000 5000 for one size by kind of change
bench-netpol *args:
    cargo run --release -p plimsoll-netpol --example bench -- {{ args }}
    cargo run --release -p plimsoll-loadtest -- bench netpol 10000x5000

# verdicts and speed beside cyclonus: `go install github.com/mattfenwick/cyclonus/cmd/cyclonus@v0.5.6`
bench-netpol-peer cyclonus="cyclonus" *sizes="20x10 100x50 200x100 400x200":
    cargo build --release -p plimsoll
    loadtest/peers/cyclonus.py --plimsoll target/release/plimsoll --cyclonus {{ cyclonus }} {{ sizes }}

# np-guard's cases in every format, expected against printed: cases is the folder with check-netpol.py and np-guard
netpol-cases cases:
    cargo build --release -p plimsoll
    python3 "{{ cases }}/check-netpol.py" "${CARGO_TARGET_DIR:-target}/release/plimsoll" --formats csv,json,txt,md,dot

# warm pushes through the whole pipeline
bench-push *args:
    cargo run --release -p plimsoll-loadtest -- bench push {{ args }}

# a thousand changed advisories over 100,000 images
bench-rematch *args:
    cargo run --release -p plimsoll-loadtest -- bench rematch {{ args }}

# one to four workers against a slow registry
bench-scale *args:
    cargo run --release -p plimsoll-loadtest -- bench scale {{ args }}

# kills processes at every labelled point and counts what was lost or published twice
crash *args:
    cargo run --release -p plimsoll-loadtest -- crash {{ args }}

# every fuzz target for so many seconds (needs a nightly toolchain); what it finds is in fuzz/artifacts
fuzz seconds="60":
    cd fuzz; host="$(rustc -vV | sed -n 's/^host: //p')"; \
    RUSTFLAGS="{{ coverage }}" cargo +nightly build --release --target "$host"; \
    for target in $(ls seeds); do \
        mkdir -p "corpus/$target" "artifacts/$target"; \
        "${CARGO_TARGET_DIR:-target}/$host/release/$target" "corpus/$target" "seeds/$target" \
            -rss_limit_mb=512 -timeout=10 -max_len=20000 -max_total_time={{ seconds }} \
            -artifact_prefix="artifacts/$target/" -print_final_stats=1; \
    done

# what libFuzzer looks at: counters of edges, and comparisons; as cargo-fuzz sets it
coverage := "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing"

# licences, bans, advisories and sources of the dependencies (needs cargo-deny)
deny:
    cargo deny check
