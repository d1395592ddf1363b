# Shared by deploy/up and tests/all; sourced, never run. Owns what must be installed and built before anything starts.
# shellcheck shell=bash

# The one profile of everything on the host.
readonly host_packages=(-p quorate-replica -p quorate-gateway -p quorate-cluster -p quorate-bundle)
readonly wasm_target=wasm32-unknown-unknown
readonly target_dir=${CARGO_TARGET_DIR:-target}
# rustup's download takes 2 s where it can download; where it cannot, it must not hang the start.
readonly rustup_wait_s=90

say() { printf '%s\n' "$*"; }
fail() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 2; }
have() { command -v "$1" >/dev/null 2>&1; }

# Ordinary users often lack the sbin folders in PATH.
have_haproxy() { have haproxy || [ -x /usr/sbin/haproxy ] || [ -x /usr/local/sbin/haproxy ]; }

# The words that make apt-get run with rights, or nothing where there is no right: nobody is asked for a password.
apt_prefix() {
  have apt-get || return 1
  if [ "$(id -u)" = 0 ]; then printf 'env'
  elif have sudo && sudo -n true 2>/dev/null; then printf 'sudo -n env'
  else return 1; fi
}

# Installs Debian packages if that is allowed. The list of packages is fetched once a run.
apt_install() {
  local prefix
  prefix=$(apt_prefix) || return 1
  say "installing $*"
  if [ -z "${apt_updated:-}" ]; then
    # shellcheck disable=SC2086  # the prefix is several words
    $prefix apt-get update -qq </dev/null >/dev/null || return 1
    apt_updated=yes
  fi
  # shellcheck disable=SC2086
  $prefix DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" </dev/null >/dev/null
}

need_rust() {
  if ! have cargo || ! have rustc; then fail "Rust is not installed: install rustup, then run this again"; fi
  local wanted found
  wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
  found=$(rustc --version | cut -d' ' -f2)
  [ "$(printf '%s\n%s\n' "$wanted" "$found" | sort -V | head -n 1)" = "$wanted" ] ||
    fail "Rust $wanted or newer is needed, this is $found: run \`rustup update\`"
  { have cc && have make; } || apt_install gcc libc6-dev make || fail "a C compiler and make are needed: install gcc and make"
}

wasm_target_installed() {
  compgen -G "$(rustc --print target-libdir --target "$wasm_target" 2>/dev/null)/libcore-*" >/dev/null
}

# The page builds for wasm32. Where rustup cannot download that target, Debian's sources of the standard library and its
# compiler of the same version build it, unpacked under target/ and installed nowhere.
need_wasm() {
  wasm_target_installed && return
  if have rustup; then
    say "adding the target $wasm_target"
    timeout "$rustup_wait_s" rustup target add "$wasm_target" </dev/null >/dev/null 2>&1 || true
    wasm_target_installed && return
  fi
  say "rustup could not add $wasm_target; taking Debian's compiler and library sources instead"
  web_cargo_from_debian || fail "the target $wasm_target is missing: run \`rustup target add $wasm_target\` with a network"
}

web_cargo_from_debian() {
  local base prefix std llvm lld
  mkdir -p "$target_dir"
  base=$(cd "$target_dir" && pwd)/web-toolchain
  if [ ! -x "$base/cargo" ]; then
    have apt-get && have dpkg || return 1
    # shellcheck disable=SC2086  # the prefix is several words
    if prefix=$(apt_prefix); then $prefix apt-get update -qq </dev/null >/dev/null || true; fi
    std=$(apt-cache search --names-only '^libstd-rust-web-[0-9.]+$' | cut -d' ' -f1 | sort -V | tail -n 1)
    llvm=$(apt-cache depends "${std:-none}" 2>/dev/null | sed -n 's/.*Depends: \(libllvm.*\)/\1/p')
    lld=$(rustc --print sysroot)/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')/bin/rust-lld
    [ -n "$llvm" ] && [ -x "$lld" ] || return 1
    rm -rf "$base" && mkdir -p "$base/debs" "$base/unpacked"
    (cd "$base/debs" && apt-get download -qq rustc-web rust-web-src libstd-rust-web-dev "$std" "$llvm" >/dev/null 2>&1) || return 1
    find "$base/debs" -name '*.deb' -exec dpkg -x {} "$base/unpacked" \;
    rm -rf "$base/debs"
    cat >"$base/rustc" <<END
#!/bin/sh
LD_LIBRARY_PATH="$(dirname "$(find "$base/unpacked/usr/lib" -name 'librustc_driver-*.so' | head -n 1)")" exec "$base/unpacked/usr/bin/rustc" "\$@"
END
    # rustup's cargo, Debian's compiler: the library is built from the sources beside that compiler.
    cat >"$base/cargo" <<END
#!/bin/sh
export RUSTC="$base/rustc" RUSTC_BOOTSTRAP=1 CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER="$lld"
verb=\$1; shift
exec cargo "\$verb" -Zbuild-std=std,panic_abort "\$@"
END
    chmod +x "$base/rustc"
    "$base/rustc" --version >/dev/null || return 1
    chmod +x "$base/cargo"
  fi
  export QUORATE_WEB_CARGO=$base/cargo
}

# The server's binaries and the page: its compiler takes what the host's leaves of the cores.
build_all() (
  log=$(mktemp)
  compile_page >"$log" 2>&1 &
  page=$!
  trap 'kill "$page" 2>/dev/null || true; rm -f "$log"' EXIT
  cargo build --release --locked "${host_packages[@]}"
  wait "$page" || { cat "$log" >&2; fail "the page does not compile"; }
  build_page
)

# Of what build_page does the part that takes minutes and needs none of the binaries. For a shell of its own: it becomes `timeout`,
# which hands on what ends it to the compiler and all that that started.
compile_page() {
  exec timeout 2400 nice -n 10 "${QUORATE_WEB_CARGO:-cargo}" build --locked -p quorate-web --target "$wasm_target" \
    --target-dir "$target_dir/web" --profile web
}

build_page() {
  "$target_dir/release/quorate-bundle" --out dist/page --target-dir "$target_dir/web"
}
