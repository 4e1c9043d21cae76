import { accessSync, constants } from 'node:fs';
import path from 'node:path';

/** The path of a program in one of the folders, by default those of PATH; undefined if it is in none. */
export function findProgram(name, folders = searchPath()) {
  const file = process.platform === 'win32' ? `${name}.exe` : name;
  return folders
    .filter(Boolean)
    .map(folder => path.join(folder, file))
    .find(isExecutable);
}

/** CUDA's compiler, looked for where CMakeLists.txt does. */
export function findNvcc() {
  const { CUDA_HOME, CUDA_PATH } = process.env;
  const homes = [CUDA_HOME, CUDA_PATH].filter(Boolean).map(home => path.join(home, 'bin'));
  return findProgram('nvcc', [...homes, ...searchPath(), '/usr/local/cuda/bin']);
}

function searchPath() {
  return (process.env.PATH ?? '').split(path.delimiter);
}

function isExecutable(file) {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
