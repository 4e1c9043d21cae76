#!/bin/bash
# musl-cxx-library.sh FOLDER: builds the C++ library by which the addon for musl (Alpine) is linked. Debian has musl
# (musl-tools) and the sources of GCC (gcc-12-source), and no C++ library that is made for it. Takes minutes, once.
set -euo pipefail

mkdir -p "$1"
folder=$(realpath "$1")
musl=/usr/lib/x86_64-linux-musl
archive=$(ls /usr/src/gcc-12/gcc-12*.tar.xz) # as the package has it
[[ -e $musl/musl-gcc.specs ]] || { echo "there is no $musl (Debian: musl-tools)" >&2; exit 1; }
[[ ! -e $folder/done ]] || exit 0

mkdir -p "$folder/source" "$folder/build/libgcc" "$folder/build/library"
tar -xJf "$archive" -C "$folder/source" --strip-components=1 --wildcards --no-wildcards-match-slash 'gcc-*/*' \
  --exclude='gcc-*/*/*' --exclude='gcc-*/*/'
tar -xJf "$archive" -C "$folder/source" --strip-components=1 --wildcards --exclude='*/testsuite' --exclude='*/doc/html' \
  'gcc-*/config' 'gcc-*/include' 'gcc-*/libgcc' 'gcc-*/libiberty' 'gcc-*/libstdc++-v3' \
  'gcc-*/gcc/BASE-VER' 'gcc-*/gcc/DATESTAMP' 'gcc-*/gcc/DEV-PHASE'
# Asked for, and of no use here.
mkdir -p "$folder/source/libstdc++-v3/testsuite"
echo 'all:' >"$folder/source/libstdc++-v3/testsuite/Makefile.in"
# What building libgcc before would have made: which threads there are.
cp "$folder/source/libgcc/gthr-posix.h" "$folder/build/libgcc/gthr-default.h"

cat >"$folder/g++" <<END
#!/bin/sh
exec g++ -specs=$musl/musl-gcc.specs -nostdinc -nostdinc++ "\$@" -isystem /usr/include/x86_64-linux-musl -isystem $(g++ -print-file-name=include)
END
chmod +x "$folder/g++"

cd "$folder/build/library"
CC=musl-gcc CXX="$folder/g++" CFLAGS='-O2 -fPIC' CXXFLAGS='-O2 -fPIC' LDFLAGS=-Wl,--eh-frame-hdr ../../source/libstdc++-v3/configure \
  --build=x86_64-pc-linux-gnu --host=x86_64-linux-musl --prefix="$folder" --disable-multilib --disable-nls \
  --disable-libstdcxx-pch --disable-libstdcxx-verbose >"$folder/log" 2>&1
parts=(SUBDIRS='include libsupc++ src')
make -j "$(nproc)" "${parts[@]}" >>"$folder/log" 2>&1
make "${parts[@]}" install >>"$folder/log" 2>&1
rm -rf "$folder/source" "$folder/build"
touch "$folder/done"
