import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';

const root = path.resolve(import.meta.dirname, '../..');

/** Builds what stands for NCCL and for the driver of a GPU, for ranks of this machine. */
export async function buildNcclStandIn(library: string): Promise<void> {
  const sources = ['stand_in_driver.cc', 'stand_in_nccl.cc'].map(name => path.join(root, 'native/test/nccl', name));
  // Who asks for the driver when this is loaded finds it here.
  const options = ['-std=c++17', '-O1', '-shared', '-fPIC', '-pthread', '-Wl,-soname,libcuda.so.1'];
  const include = `-I${path.join(root, 'native')}`;
  await promisify(execFile)('c++', [...options, include, ...sources, '-o', library, '-ldl']);
}
