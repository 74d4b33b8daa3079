/* One allocation fails: the one that finds the countdown at 1. The file that SHIM_MEMORY names begins with the
 * countdown, an int64_t; at 0 and below nothing fails. Only what the program itself asks for counts, not its shared
 * libraries. */
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

static _Atomic int64_t *countdown;
static uintptr_t first, last;

/* The program comes first. */
static int see_program(struct dl_phdr_info *info, size_t size, void *unused) {
    (void)size;
    (void)unused;
    for (int at = 0; at < info->dlpi_phnum; ++at) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[at];
        if (part->p_type == PT_LOAD && (part->p_flags & PF_X) != 0) {
            first = info->dlpi_addr + part->p_vaddr;
            last = first + part->p_memsz;
        }
    }
    return 1;
}

__attribute__((constructor)) static void begin(void) {
    const int fd = open(getenv("SHIM_MEMORY"), O_RDWR | O_CLOEXEC);
    void *mapped = mmap(NULL, sizeof(*countdown), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd < 0 || mapped == MAP_FAILED) {
        abort();
    }
    close(fd);
    dl_iterate_phdr(see_program, NULL);
    countdown = mapped;
}

static bool fails(const void *caller) {
    const uintptr_t from = (uintptr_t)caller;
    if (countdown == NULL || from < first || from >= last || *countdown <= 0) {
        return false;
    }
    if (--*countdown != 0) {
        return false;
    }
    errno = ENOMEM;
    return true;
}

#define FAILS fails(__builtin_return_address(0))

void *malloc(size_t size) { return FAILS ? NULL : __libc_malloc(size); }

void *calloc(size_t count, size_t size) { return FAILS ? NULL : __libc_calloc(count, size); }

void *realloc(void *old, size_t size) { return FAILS ? NULL : __libc_realloc(old, size); }

int posix_memalign(void **made, size_t alignment, size_t size) {
    if (FAILS) {
        return ENOMEM;
    }
    *made = __libc_memalign(alignment, size);
    return *made == NULL ? ENOMEM : 0;
}

void *aligned_alloc(size_t alignment, size_t size) { return FAILS ? NULL : __libc_memalign(alignment, size); }
