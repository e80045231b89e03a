# Shared by the scripts of this folder; to be sourced. Owns: where things are, and how the two build trees are made.
#   build/       debugoptimized: what the demo, the interoperability tests and the benchmark run
#   build-asan/  AddressSanitizer and UndefinedBehaviorSanitizer, with all tests
# Must never install anything or touch the system: that is scripts/install's.
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
BUILD=$ROOT/build
BUILD_ASAN=$ROOT/build-asan
PROGRAMS=(dataplane/culvert-dataplane control/culvertd control/culvert)

die() { echo "$(basename "$0"): $*" >&2; exit 1; }
say() { echo "$(date +%T) $*"; }

# configure DIR [meson options]: once; a tree that exists is left as it is (ninja reconfigures it when a meson.build changes)
configure() {
  local dir=$1 log; shift
  [ -f "$dir/build.ninja" ] && return 0
  log=$dir.setup.log
  command -v mold >/dev/null && export CXX_LD=${CXX_LD:-mold}
  (cd "$ROOT" && meson setup "$dir" "$@") >"$log" 2>&1 || { tail -n 30 "$log" >&2; die "meson setup failed: $log"; }
  mv "$log" "$dir/setup.log"
}

# compile DIR [targets]: quiet when all is well, the end of the log when not
compile() {
  local dir=$1 log=$1/compile.log; shift
  ninja -C "$dir" "$@" >"$log" 2>&1 || { grep -E 'error|FAILED|undefined' "$log" | head -n 40 >&2; tail -n 15 "$log" >&2; die "the build failed: $log"; }
}

# build_programs: the three programs in build/, with what a backtrace needs: a sixth of the time goes into what a debugger wants beyond that
build_programs() { configure "$BUILD" -Dcpp_args=-g1 && compile "$BUILD" "${PROGRAMS[@]}"; }

# build_asan: everything with the sanitizers in build-asan/. By the second compiler, whose warnings are others: the programs in build/ are g++'s.
# Unoptimized and with line tables only: clang takes half of g++'s time for that, and a third of its own when it optimizes.
build_asan() {
  CXX=clang++-19 CC=clang-19 configure "$BUILD_ASAN" -Db_sanitize=address,undefined -Db_lundef=false -Doptimization=0 -Dcpp_args=-g1 &&
    compile "$BUILD_ASAN"
}
