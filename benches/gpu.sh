#!/bin/sh
# All evidence of a GPU at once: is every kernel right on it, how near is each to what it can do,
# does a job give the lists that it gives on the processor, how fast are a large decoder and a large
# search, and how fast is PEFT.
#
#   benches/gpu.sh --pack               builds what is carried into target/gpu, 35 MB
#   benches/gpu.sh FOLDER [PART…]       runs there, and writes everything to FOLDER
#
# Parts: check sanitize kernels decoder training search demo peft; all of them if none is named.
# There is no need of a network, of CUDA's compiler or of Rust where it runs: carry the tree with
# target/gpu (and STEERAGE_PACK says where else it is). Needed are NVIDIA's driver, and NVRTC and
# cuBLASLt, of the toolkit or of the wheels nvidia-cuda-nvrtc and nvidia-cublas, whose folders are
# found through Python and added to LD_LIBRARY_PATH. PEFT's part needs torch, transformers and peft.
set -u
usage="usage: benches/gpu.sh FOLDER [PART...], or benches/gpu.sh --pack"
[ $# -ge 1 ] || { echo "$usage" >&2; exit 2; }
root=$(cd "$(dirname "$0")/.." && pwd)
pack=${STEERAGE_PACK:-$root/target/gpu}

# The program that cargo has just built, by its name.
built() {
    sed -n 's/.*"executable":"\([^"]*\/'"$1"'[^"/]*\)".*/\1/p' | tail -n 1
}

if [ "$1" = --pack ]; then
    set -e
    cd "$root"
    mkdir -p "$pack"
    gpu=$(cargo bench --bench gpu --no-run --message-format=json | built gpu-)
    steerage=$(cargo build --release --bin steerage --message-format=json | built steerage)
    it=$(cargo test --test it --no-run --message-format=json | built it-)
    for pair in "gpu=$gpu" "steerage=$steerage" "it=$it"; do
        strip -o "$pack/${pair%%=*}" "${pair#*=}"
        gzip -9 -f "$pack/${pair%%=*}"
    done
    echo "$root" > "$pack/root" # where the tests look for their files
    git rev-parse HEAD > "$pack/commit"
    du -sh "$pack"
    exit 0
fi

folder=$1
shift
parts=${*:-check sanitize kernels decoder training search demo peft}
for part in $parts; do
    case $part in
        check | sanitize | kernels | decoder | training | search | demo | peft) ;;
        *) echo "no part \"$part\": $usage" >&2; exit 2 ;;
    esac
done
# GPU_DEVICES= in tests: none.
devices=${GPU_DEVICES-$(nvidia-smi -L 2>/dev/null || ls /dev/nvidia[0-9]* 2>/dev/null)}
if [ -z "$devices" ]; then
    echo "no NVIDIA device is here: nothing was measured" >&2
    exit 1
fi

mkdir -p "$folder" || exit 1
folder=$(cd "$folder" && pwd)
bin=$(mktemp -d) || exit 1
trap 'rm -rf "$bin"' EXIT
for name in gpu steerage it; do
    if ! gunzip -c "$pack/$name.gz" > "$bin/$name"; then
        echo "$pack/$name.gz is not there: benches/gpu.sh --pack makes it" >&2
        exit 1
    fi
    chmod +x "$bin/$name"
done

# NVRTC and cuBLASLt: of wheels, wherever this Python has them, or of the toolkit.
wheels=$(python3 - 2>/dev/null << 'END'
import glob, sys
found = [f for p in sys.path for f in sorted(glob.glob(p + "/nvidia/*/lib"))]
print(":".join(found))
END
)
for lib in /usr/local/cuda/lib64 /usr/local/cuda/targets/x86_64-linux/lib \
    /usr/local/nvidia/lib64; do
    [ -d "$lib" ] && wheels=$wheels${wheels:+:}$lib
done
LD_LIBRARY_PATH=$wheels${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export LD_LIBRARY_PATH

# The tests' files are where the tests were built.
there=$(cat "$pack/root")
if [ ! -e "$there" ]; then
    mkdir -p "$(dirname "$there")" && ln -s "$root" "$there"
fi

failed=
step() { # NAME SECONDS COMMAND...: runs it for so long at most, its words in FOLDER/NAME.log
    name=$1 most=$2 begun=$(date +%s)
    shift 2
    timeout "$most" "$@" > "$folder/$name.log" 2>&1
    status=$?
    echo "$name: exit $status, $(($(date +%s) - begun)) s" | tee -a "$folder/steps.txt"
    [ $status -eq 0 ] || { failed="$failed $name"; tail -n 5 "$folder/$name.log"; }
    return $status
}

demo() { # NAME DEVICE: the demo's lists as a run of that name
    step "demo-$1" 300 "$bin/steerage" run "$root/jobs/demo.toml" \
        --set "run.root=\"$folder/runs\"" --set "name=\"lists-$1\"" --set "device=\"$2\""
}

# Each case in a process of its own: a device that failed stays so for as long as the process.
each='it=$1; shift; bad=0; all=0
for test in $("$it" cuda:: --list | sed -n "s/: test\$//p"); do
    all=$((all + 1))
    "$@" "$it" --exact "$test" || { bad=$((bad + 1)); echo "FAILED $test"; }
done
echo "$bad of $all cases failed"
[ $all -gt 0 ] && [ $bad -eq 0 ]'

{
    date -u +%Y-%m-%dT%H:%MZ
    echo "commit $(cat "$pack/commit")"
    echo "$devices"
    "$bin/steerage" doctor
} > "$folder/machine.txt" 2>&1
: > "$folder/steps.txt"

for part in $parts; do
    case $part in
        check) # every kernel, and a decoder, against its definition
            export REQUIRE_CUDA=1 KERNELS_FOLDER="$folder/kernels"
            step check 540 sh -c "$each" sh "$bin/it"
            unset REQUIRE_CUDA ;;
        sanitize)
            export REQUIRE_CUDA=1 KERNELS_FOLDER="$folder/kernels"
            if command -v compute-sanitizer >/dev/null; then
                for tool in memcheck racecheck; do
                    step "sanitize-$tool" 400 sh -c "$each" sh "$bin/it" \
                        compute-sanitizer --tool "$tool" --error-exitcode 9
                done
            else
                echo "sanitize: compute-sanitizer is not here" | tee -a "$folder/steps.txt"
            fi
            unset REQUIRE_CUDA ;;
        kernels | decoder | training | search) step "$part" 400 "$bin/gpu" "$part" "$folder" ;;
        demo)
            if demo cpu cpu && demo cuda cuda:0; then
                set -- "$folder"/runs/lists-cpu-* "$folder"/runs/lists-cuda-*
                step lists 60 "$bin/gpu" lists "$folder" "$1" "$2" 0.05
            fi ;;
        peft)
            if python3 -c 'import torch, transformers, peft' 2>/dev/null; then
                step peft 400 python3 "$root/benches/gpu_peft.py" --out "$folder/peft.txt"
            else
                echo "peft: torch, transformers or peft is not here" | tee -a "$folder/steps.txt"
            fi ;;
    esac
done

echo
for name in machine kernels decoder training peft search lists steps; do
    [ -e "$folder/$name.txt" ] && { echo "== $name"; cat "$folder/$name.txt"; }
done
grep -h 'cases failed$\|^FAILED' "$folder"/check.log "$folder"/sanitize-*.log 2>/dev/null
[ -z "$failed" ] || { echo "failed:$failed" >&2; exit 1; }
