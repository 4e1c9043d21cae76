// What Debian's libgcc_s asks of glibc, and newer versions of the C++ library of the one that is built here: with them programs
// for Alpine start on Debian's musl.
#include <link.h>
#include <stddef.h>

struct dl_find_object {
  unsigned long long flags;
  void *map_start, *map_end;
  struct link_map *link_map;
  void *eh_frame;
  unsigned long long reserved[7];
};

struct question {
  const char *code;
  struct dl_find_object *answer;
};

static int look(struct dl_phdr_info *info, size_t size, void *data) {
  const struct question *question = data;
  char *start = NULL, *end = NULL, *frames = NULL;
  (void)size;
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const ElfW(Phdr) *header = &info->dlpi_phdr[i];
    char *at = (char *)info->dlpi_addr + header->p_vaddr;
    if (header->p_type == PT_LOAD && question->code >= at && question->code < at + header->p_memsz)
      start = at, end = at + header->p_memsz;
    if (header->p_type == PT_GNU_EH_FRAME) frames = at;
  }
  if (start == NULL || frames == NULL) return 0;
  *question->answer = (struct dl_find_object){.map_start = start, .map_end = end, .eh_frame = frames};
  return 1;
}

// Of glibc 2.35: where the tables for exceptions are.
int _dl_find_object(void *code, struct dl_find_object *answer) {
  struct question question = {code, answer};
  return dl_iterate_phdr(look, &question) == 1 ? 0 : -1;
}

// Of libgcc itself, in a version that musl does not find.
unsigned __cpu_model[4];
int __cpu_indicator_init(void) { return 0; }

// Of GCC 13: std::__glibcxx_assert_fail.
void _ZSt21__glibcxx_assert_failPKciS0_S0_(const char *file, int line, const char *function, const char *condition) {
  (void)file, (void)line, (void)function, (void)condition;
  __builtin_trap();
}
