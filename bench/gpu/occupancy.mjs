/** The number of resident blocks per multiprocessor, from the table of limits in the CUDA programming guide. */
const LIMITS = {
  80: { sharedKB: 164, threads: 2048, blocks: 32 },
  86: { sharedKB: 100, threads: 1536, blocks: 16 },
  89: { sharedKB: 100, threads: 1536, blocks: 24 },
  90: { sharedKB: 228, threads: 2048, blocks: 32 },
  100: { sharedKB: 228, threads: 2048, blocks: 32 },
  120: { sharedKB: 100, threads: 1536, blocks: 24 },
};
const REGISTERS = 65_536;
const WARP = 32;
const REGISTERS_AT_ONCE = 256; // allocation unit of a warp's registers
const RESERVED_SHARED = 1024; // of every block, by the system

/** `architecture` is '80' or '90a'. Undefined for one that is not in the table. */
export function occupancy(architecture, { registers, threads, sharedBytes }) {
  const limits = LIMITS[Number.parseInt(architecture, 10)];
  if (!limits || !threads) return undefined;
  const warps = Math.ceil(threads / WARP);
  const ofWarp = Math.ceil((registers * WARP) / REGISTERS_AT_ONCE) * REGISTERS_AT_ONCE;
  const blocks = Math.min(
    limits.blocks,
    Math.floor(limits.threads / (warps * WARP)),
    Math.floor(REGISTERS / (ofWarp * warps)),
    Math.floor((limits.sharedKB * 1024) / (sharedBytes + RESERVED_SHARED)),
  );
  return { blocks, share: (blocks * warps * WARP) / limits.threads };
}
