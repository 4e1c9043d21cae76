import { readFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { Machine, NodeInfo } from './report.js';

export function describeMachine(): Machine {
  const processors = os.cpus();
  const memory = os.totalmem();
  const limit = readNumber('memory.max', 'memory/memory.limit_in_bytes');
  return {
    platform: process.platform,
    arch: process.arch,
    release: os.release(),
    cpu: processors[0]?.model.trim() ?? 'unknown',
    processors: processors.length,
    usableProcessors: os.availableParallelism(),
    processorQuota: processorQuota(),
    memory,
    freeMemory: os.freemem(),
    // Without a limit the first version of control groups tells a number beyond any memory.
    memoryLimit: limit !== null && limit < memory ? limit : null,
  };
}

export function describeNode(): NodeInfo {
  const { node, modules, napi = 'unknown' } = process.versions;
  return { version: `v${node}`, modules, napi, libc: libc(), executable: process.execPath };
}

function libc(): string | null {
  if (process.platform !== 'linux') return null;
  // Else the report looks up the names of all hosts that are connected.
  const report = process.report as typeof process.report & { excludeNetwork?: boolean };
  report.excludeNetwork = true;
  const { header } = report.getReport() as unknown as { header: { glibcVersionRuntime?: string } };
  return header.glibcVersionRuntime === undefined ? 'musl' : `glibc ${header.glibcVersionRuntime}`;
}

/** Microseconds of processor time for each period, or `max`. */
function processorQuota(): number | null {
  const [quota, period] = readGroup('cpu.max')?.split(' ').map(Number) ?? [
    readNumber('', 'cpu/cpu.cfs_quota_us') ?? -1,
    readNumber('', 'cpu/cpu.cfs_period_us') ?? 0,
  ];
  return quota! > 0 && period! > 0 ? quota! / period! : null;
}

function readNumber(second: string, first: string): number | null {
  const text = (second === '' ? undefined : readGroup(second)) ?? readGroup(first);
  const value = Number(text ?? Number.NaN);
  return Number.isFinite(value) ? value : null;
}

/** A file of this process's control group. In a container the group's own root is mounted. */
function readGroup(name: string): string | undefined {
  for (const folder of [`.${ownGroup()}`, '.']) {
    try {
      return readFileSync(path.join('/sys/fs/cgroup', folder, name), 'utf8').trim();
    } catch {}
  }
  return undefined;
}

function ownGroup(): string {
  try {
    return /^0::(.*)$/m.exec(readFileSync('/proc/self/cgroup', 'utf8'))?.[1] ?? '/';
  } catch {
    return '/';
  }
}
