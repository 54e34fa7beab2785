#!/bin/sh
# All evidence of a GPU at once: is every kernel right on it, how near is each to what it can do,
# does a job give the lists that it gives on the processor, how fast are a large decoder and a large
# search, and how fast is PEFT.
#
#   benches/gpu.sh --pack               builds what is carried into target/gpu, 35 MB
#   benches/gpu.sh FOLDER [PART…]       runs there, and writes everything to FOLDER
#
# Parts: check memcheck racecheck kernels decoder training search demo peft; all of them if none is
# named; none takes more than ten minutes.
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
parts=${*:-check memcheck racecheck kernels decoder training search demo peft}
for part in $parts; do
    case $part in
        check | memcheck | racecheck | kernels | decoder | training | search | demo | peft) ;;
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

# The tests' files, and the program that they run, are where the tests were built.
there=$(cat "$pack/root")
if [ ! -e "$there" ]; then
    mkdir -p "$(dirname "$there")" && ln -s "$root" "$there"
fi
program=$there/target/debug/steerage
if [ ! -x "$program" ]; then
    mkdir -p "$there/target/debug" && ln -sf "$bin/steerage" "$program"
    trap 'rm -rf "$bin" "$program"' EXIT
fi

failed=
step() { # NAME SECONDS COMMAND...: runs it for so long at most, its words in FOLDER/NAME.log
    name=$1 most=$2 begun=$(date +%s)
    shift 2
    timeout -k 10 "$most" "$@" > "$folder/$name.log" 2>&1
    status=$?
    echo "$name: exit $status, $(($(date +%s) - begun)) s" | tee -a "$folder/steps.txt"
    [ $status -eq 0 ] || { failed="$failed $name"; tail -n 5 "$folder/$name.log"; }
    return $status
}

demo() { # NAME DEVICE: the demo's lists as a run of that name
    step "demo-$1" 270 "$bin/steerage" run "$root/jobs/demo.toml" \
        --set "run.root=\"$folder/runs\"" --set "name=\"lists-$1\"" --set "device=\"$2\""
}

# Each case in a process of its own, since a device that failed stays so for as long as the process,
# and for a minute at most (whole jobs for three), since a kernel may wait forever; none after the
# part's time, when the next part has the device. First the wrapped instructions: where these are
# wrong everything is.
each='it=$1 only=$2 end=$(($(date +%s) + 540)); shift 2; bad=0; all=0
list() { "$it" cuda:: --list | sed -n "s/: test\$//p" | grep -E "$only"; }
for test in $(list | grep -E "wrappers|bulk") $(list | grep -vE "wrappers|bulk"); do
    case $test in *::jobs::* | *::meanwhile::*) most=180 ;; *) most=60 ;; esac
    all=$((all + 1)) left=$((end - $(date +%s)))
    [ $left -lt $most ] && most=$left
    [ $left -gt 0 ] && timeout -k 5 "$most" "$@" "$it" --exact "$test" ||
        { bad=$((bad + 1)); echo "FAILED $test"; }
done
echo "$bad of $all cases failed"
[ $all -gt 0 ] && [ $bad -eq 0 ]'

# Those of which each kernel is a part, for tools that take a hundred times as long.
kernels='::(attention|backward|bulk|lora|lora_norms|losses|norms|retrieving|search|wrappers)::'

cases() { # NAME PATTERN COMMAND...: the cases whose names have it, each run by the command
    name=$1 only=$2
    shift 2
    step "$name" 560 env REQUIRE_CUDA=1 KERNELS_FOLDER="$folder/kernels" \
        sh -c "$each" sh "$bin/it" "$only" "$@"
}

{
    date -u +%Y-%m-%dT%H:%MZ
    echo "commit $(cat "$pack/commit")"
    echo "$devices"
    for lib in $(echo "$LD_LIBRARY_PATH" | tr : ' '); do
        ls -d "$lib"/libnvrtc.so.* "$lib"/libcublasLt.so.* 2>/dev/null
    done
    timeout -k 5 60 "$bin/steerage" doctor
} > "$folder/machine.txt" 2>&1
head -n 1 "$folder/machine.txt" >> "$folder/steps.txt"

for part in $parts; do
    case $part in
        check) cases check . ;; # every kernel, and a decoder, against its definition
        memcheck | racecheck)
            if command -v compute-sanitizer >/dev/null; then
                cases "$part" "$kernels" compute-sanitizer --tool "$part" --error-exitcode 9
            else
                echo "$part: compute-sanitizer is not here" | tee -a "$folder/steps.txt"
            fi ;;
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
grep -h 'cases failed$\|^FAILED' "$folder"/*check.log 2>/dev/null
[ -z "$failed" ] || { echo "failed:$failed" >&2; exit 1; }
