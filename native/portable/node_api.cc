// Windows: Node-API comes from whatever executable loads the addon: node.exe, a renamed one, Electron, Bun. An import library
// would name one of them. Calls go through the pointers that it would bring, which are filled in here.

#ifndef NOMINMAX
#define NOMINMAX
#endif
#include <windows.h>

extern "C" {
#define IMPORT(name) FARPROC __imp_##name = nullptr;
#include "portable/node_api_functions.h"
#undef IMPORT
}

namespace {

struct Import {
  const char *name;
  FARPROC *function;
};

constexpr Import kImports[] = {
#define IMPORT(name) {#name, &__imp_##name},
#include "portable/node_api_functions.h"
#undef IMPORT
};

// Whether a module of this process has all of them; null: there is no such module.
bool bind(HMODULE module) {
  if (module == nullptr) return false;
  for (const Import &import : kImports) {
    *import.function = GetProcAddress(module, import.name);
    if (*import.function == nullptr) return false;
  }
  return true;
}

// Threads of the addon may outlive the worker thread with which Node.js would unload it.
bool keep_code(HINSTANCE here) {
  HMODULE kept;
  return GetModuleHandleExW(GET_MODULE_HANDLE_EX_FLAG_PIN | GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS,
                            reinterpret_cast<LPCWSTR>(here), &kept) != 0;
}

}  // namespace

// Refused, the addon is not loaded: "A dynamic link library (DLL) initialization routine failed".
BOOL WINAPI DllMain(HINSTANCE here, DWORD reason, void *) {
  if (reason != DLL_PROCESS_ATTACH) return TRUE;
  // Programs that embed Node.js may have it in a library.
  const bool bound =
      bind(GetModuleHandleW(nullptr)) || bind(GetModuleHandleW(L"libnode.dll")) || bind(GetModuleHandleW(L"node.dll"));
  return bound && keep_code(here);
}
