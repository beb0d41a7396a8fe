#!/usr/bin/env bash
# Install the system packages that a Python environment and a napari window need on a bare Linux machine. This
# needs Debian's apt and root; without them, one message names the missing packages.
#
#   scripts/system_packages.sh PYTHON [window] [xvfb] [compiler] [browser]
#
# PYTHON is the interpreter of .venv. `window` adds the libraries of Qt and OpenGL, `xvfb` a virtual screen,
# `compiler` the C++ compiler with which the tests run CUDA kernels on the CPU, `browser` the Chromium that drives
# the documentation's browser page.
set -euo pipefail

python=$1
shift
[ "$(uname -s)" = Linux ] || exit 0 # macOS brings a window system of its own

# Each line: a library, program (/name) or folder, and the Debian package that has it. Qt's xcb plugin loads the libraries by
# these names; Mesa draws OpenGL without a graphics card; without any font a window shows boxes for letters.
window="
libEGL.so.1 libegl1
libGL.so.1 libgl1
libOpenGL.so.0 libopengl0
libdbus-1.so.3 libdbus-1-3
libfontconfig.so.1 libfontconfig1
libglib-2.0.so.0 libglib2.0-0
libxkbcommon-x11.so.0 libxkbcommon-x11-0
libX11-xcb.so.1 libx11-xcb1
libxcb-cursor.so.0 libxcb-cursor0
libxcb-icccm.so.4 libxcb-icccm4
libxcb-image.so.0 libxcb-image0
libxcb-keysyms.so.1 libxcb-keysyms1
libxcb-randr.so.0 libxcb-randr0
libxcb-render-util.so.0 libxcb-render-util0
libxcb-shape.so.0 libxcb-shape0
libxcb-xfixes.so.0 libxcb-xfixes0
libxcb-xinerama.so.0 libxcb-xinerama0
libxcb-xkb.so.1 libxcb-xkb1
/usr/share/fonts fonts-dejavu-core
"
xvfb="
libGLX_mesa.so.0 libglx-mesa0
/usr/lib/*/dri libgl1-mesa-dri
/Xvfb xvfb
/xvfb-run xvfb
/xauth xauth
"
compiler="
/c++ g++
"
browser="
/chromium chromium
"

libraries=$(PATH="$PATH:/usr/sbin:/sbin" ldconfig -p 2>/dev/null || true)
missing=()
look_for() {
    local thing package
    while read -r thing package; do
        case "$thing" in
            "") continue ;;
            # shellcheck disable=SC2086  # a pattern, to be expanded
            /usr/*) [ -n "$(ls -A $thing 2>/dev/null)" ] && continue ;;
            /*) command -v "${thing#/}" >/dev/null && continue ;;
            *) grep -qF "$thing " <<<"$libraries" && continue ;;
        esac
        missing+=("$package")
    done <<<"$1"
}
for group in "$@"; do
    case "$group" in
        window) look_for "$window" ;;
        xvfb) look_for "$xvfb" ;;
        compiler) look_for "$compiler" ;;
        browser) look_for "$browser" ;;
        *) echo "system_packages.sh: '$group' is none of window, xvfb, compiler, browser" >&2 && exit 2 ;;
    esac
done
if [ ! -x .venv/bin/python ] && ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    missing+=("$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')")
fi

[ ${#missing[@]} -gt 0 ] || exit 0
mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)

if ! command -v apt-get >/dev/null; then
    # The packages were looked for under Debian's names only, so they may be there under others: continue.
    echo "napari-lucyd: if this fails, install what these Debian packages bring, from your own distribution:" \
        "${missing[*]}" >&2
    exit 0
fi
if [ "$(id -u)" != 0 ]; then
    echo "napari-lucyd: some system packages are missing. Please run this once and try again:" \
        "sudo apt-get install ${missing[*]}" >&2
    exit 1
fi
echo "Installing system packages: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
install() { apt-get install -y -q --no-install-recommends "${missing[@]}"; }
# The package lists of a fresh machine are empty or stale, hence the second try.
install || { apt-get update -q && install; }
