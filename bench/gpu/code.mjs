/** The compiled code of kernels: PTX, and machine code if there is a disassembler. */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';

/** mangled name -> PTX from the start of that kernel to the next kernel. */
export function ptxOfKernels(text) {
  const kernels = text.split(/^\.(?:visible|weak) \.entry /m).slice(1);
  return new Map(kernels.map(kernel => [/^\w+/.exec(kernel)[0], kernel]));
}

/**
 * mangled name -> the machine instructions of that kernel, in order. Sections are disassembled one by one, as raw
 * instructions, so that nvdisasm may be older than the compiler. `scratch`: a temporary file.
 */
export function instructionsOfKernels(cubin, architecture, nvdisasm, scratch) {
  const kernels = new Map();
  for (const { name, bytes } of sectionsOf(readFileSync(cubin))) {
    if (!name.startsWith('.text.')) continue;
    writeFileSync(scratch, bytes);
    const words = ['--binary', `SM${Number.parseInt(architecture, 10)}`, scratch];
    const text = execFileSync(nvdisasm, words, {
      encoding: 'utf8',
      maxBuffer: 1 << 28,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    kernels.set(name.slice('.text.'.length), instructionsOf(text));
  }
  return kernels;
}

/** `@!P0 LDC.64 R4, c[0x0][0x210]` becomes `LDC.64 R4, c[0x0][0x210]`. */
function instructionsOf(text) {
  const lines = text.matchAll(/^\s*(?:\/\*[0-9a-f]+\*\/)?\s*(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9]*\b[^;]*);/gm);
  return [...lines].map(([, instruction]) => instruction.trim());
}

/** The number of instructions that start with `beginning`. */
export function count(instructions, beginning) {
  return instructions.filter(instruction => instruction.startsWith(beginning)).length;
}

/**
 * For a loop that issues two products and waits for the first, then for both: the share of its exponentials between the
 * two waits, where they overlap with the second product.
 */
export function shareOfExponentialsBesideProduct(instructions) {
  const waitsFor = pending => instruction =>
    instruction.startsWith('WARPGROUP.DEPBAR') && instruction.includes(pending);
  const first = instructions.findIndex(waitsFor('0x1'));
  const begin = instructions.findLastIndex((instruction, at) => at < first && waitsFor('0x0')(instruction));
  const end = instructions.findIndex((instruction, at) => at > first && waitsFor('0x0')(instruction));
  const next = instructions.findIndex((instruction, at) => at > end && waitsFor('0x0')(instruction));
  if (first < 0 || begin < 0 || end < 0 || next < 0) return 0;
  return count(instructions.slice(first, end), EXPONENTIAL) / count(instructions.slice(first, next), EXPONENTIAL);
}

const EXPONENTIAL = 'MUFU.EX2';

/** The sections of a 64-bit ELF file. */
function sectionsOf(file) {
  const HEADER_BYTES = 64;
  const begin = Number(file.readBigUInt64LE(0x28));
  const count = file.readUInt16LE(0x3c);
  const names = file.readUInt16LE(0x3e);
  const headers = Array.from({ length: count }, (_, k) => {
    const at = begin + k * HEADER_BYTES;
    const [offset, size] = [0x18, 0x20].map(field => Number(file.readBigUInt64LE(at + field)));
    return { name: file.readUInt32LE(at), offset, size };
  });
  return headers.map(({ name, offset, size }) => {
    const from = headers[names].offset + name;
    return { name: file.toString('latin1', from, file.indexOf(0, from)), bytes: file.subarray(offset, offset + size) };
  });
}
